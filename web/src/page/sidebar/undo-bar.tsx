/** What was just deleted, and a way to have it back for a few seconds: kinder than a question before. */
import { useEffect, useRef, useState } from "preact/hooks";

import type { Conversation, Id } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";

/** Long enough to notice, read and reach it. */
export const UNDO_MILLISECONDS = 8000;

interface Removed {
  title: string;
  restore: Promise<() => Promise<void>>;
}

export interface Deleting {
  /** All that can come back at once, the first deleted first. */
  removed: readonly Removed[];
  remove: (conversation: Conversation) => void;
  undo: () => void;
  /** Somebody is at the bar: it stays. */
  hold: (isHeld: boolean) => void;
}

export function useDeleting(remove: (id: Id) => Promise<() => Promise<void>>): Deleting {
  const [removed, setRemoved] = useState<readonly Removed[]>([]);
  const [isHeld, hold] = useState(false);
  useEffect(() => {
    if (removed.length === 0 || isHeld) {
      return;
    }
    const timer = setTimeout(() => {
      setRemoved([]);
    }, UNDO_MILLISECONDS);
    return () => {
      clearTimeout(timer);
    };
  }, [removed, isHeld]);
  return {
    removed,
    remove: ({ id, title }) => {
      const restore = remove(id);
      setRemoved((before) => [...before, { title, restore }]);
    },
    undo: () => {
      setRemoved([]);
      hold(false);
      for (const { restore } of removed) {
        void restore.then((bringBack) => bringBack());
      }
    },
    hold,
  };
}

export function UndoBar({ deleting }: { deleting: Deleting }) {
  const { sidebar } = words.value;
  const { removed, undo, hold } = deleting;
  const bar = useRef<HTMLDivElement>(null);
  const title = removed[0]?.title ?? "";
  return (
    // There before it says something: else some screen readers miss it.
    <div class="undo-bar" ref={bar} role="status" hidden={removed.length === 0}>
      {removed.length > 0 && (
        <>
          <p>{sidebar.deleted(removed.length, title === "" ? sidebar.untitled : title)}</p>
          <button
            class="quiet"
            type="button"
            onClick={() => {
              undo();
              // This button goes; the keyboard stays among the conversations.
              bar.current
                ?.closest(".sidebar")
                ?.querySelector<HTMLElement>(".conversation[tabindex='0'], .sidebar-new")
                ?.focus();
            }}
            onPointerEnter={() => {
              hold(true);
            }}
            onPointerLeave={() => {
              hold(false);
            }}
            onFocus={() => {
              hold(true);
            }}
            onBlur={() => {
              hold(false);
            }}
          >
            {sidebar.undo}
          </button>
        </>
      )}
    </div>
  );
}
