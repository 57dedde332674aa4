/** What was searched for and what was found; again whenever conversations change. */
import type { ReadonlySignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";

import type { Hit } from "../../chat/search.ts";

/** People type several letters before they look. */
const WAIT_MILLISECONDS = 120;

export interface Search {
  question: string;
  /** Null while nothing is searched for, or nothing was found out yet. */
  hits: readonly Hit[] | null;
  ask: (question: string) => void;
}

export function useSearch(
  find: (question: string) => Promise<readonly Hit[]>,
  conversations: ReadonlySignal<readonly unknown[]>,
): Search {
  const [question, ask] = useState("");
  const [hits, setHits] = useState<readonly Hit[] | null>(null);
  const isAsking = question.trim() !== "";
  useEffect(() => {
    if (!isAsking) {
      setHits(null);
      return;
    }
    let isOver = false;
    const timer = setTimeout(() => {
      find(question).then(
        (found) => {
          if (!isOver) {
            setHits(found);
          }
        },
        () => {
          // Nothing can be read; the sidebar says why. All that is known stays in the list.
        },
      );
    }, WAIT_MILLISECONDS);
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [question, conversations.value]);
  return { question, hits: isAsking ? hits : null, ask };
}
