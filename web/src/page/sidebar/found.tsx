/** Conversations in which something was found, with the words around it. */
import { useRef } from "preact/hooks";

import type { Hit, Piece } from "../../chat/search.ts";
import type { Id } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { moveAlong } from "./moving.ts";

export interface FoundProps {
  hits: readonly Hit[];
  currentId: Id | null;
  onOpen: (id: Id, turn: Id | null) => void;
}

/** More than anybody looks through; a better question finds the rest. */
const MAX_SHOWN = 100;

export function Found({ hits, currentId, onOpen }: FoundProps) {
  const { sidebar } = words.value;
  const list = useRef<HTMLUListElement>(null);
  return (
    <>
      <p class="sidebar-group" role="status">
        {sidebar.found(hits.length)}
      </p>
      <ul
        class="conversations"
        ref={list}
        onKeyDown={(event) => {
          moveAlong(event, list.current);
        }}
      >
        {hits.slice(0, MAX_SHOWN).map((hit, index) => (
          <li key={hit.conversation}>
            <button
              class="conversation is-found"
              type="button"
              tabIndex={index === 0 ? 0 : -1}
              aria-current={hit.conversation === currentId ? "page" : undefined}
              onClick={() => {
                onOpen(hit.conversation, hit.turn);
              }}
            >
              <span class="conversation-title" dir="auto">
                {hit.title.length === 0 ? sidebar.untitled : <Pieces pieces={hit.title} />}
              </span>
              {hit.snippet.length > 0 && (
                <span class="conversation-snippet" dir="auto">
                  <Pieces pieces={hit.snippet} />
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
    </>
  );
}

function Pieces({ pieces }: { pieces: readonly Piece[] }) {
  return (
    <>
      {pieces.map(({ text, isMatch }, index) => (isMatch ? <mark key={index}>{text}</mark> : text))}
    </>
  );
}
