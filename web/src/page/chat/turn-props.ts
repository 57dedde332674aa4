/** What the views of turns get, and what they can ask for. */
import type { ReadonlySignal } from "@preact/signals";

import type { Tree } from "../../chat/tree.ts";
import type { Id, Turn } from "../../chat/types.ts";
import type { Tool } from "../../tools/types.ts";
import type { PendingApproval } from "../approvals.ts";

export interface TurnActions {
  edit: (id: Id, text: string) => void;
  retry: (id: Id) => void;
  resume: (id: Id) => void;
  choose: (id: Id) => void;
  /** Words for who answered, where that is worth one; null: it is as anybody thinks. */
  placeOf: (turn: Turn) => string | null;
  blobOf: (sha256: string) => Promise<Blob | null>;
  /** Null: it is not there any more. */
  toolOf: (name: string) => Tool | null;
  /** Show the passages that a question's answer was given; `number` 1 is the first, 0: all. */
  openSources: (question: Turn, number: number) => void;
  /** It failed because the conversation is longer than the context window. */
  isTooLong: (id: Id) => boolean;
  /** Leave out the oldest from now on, and ask again. */
  dropOldest: (id: Id) => void;
  newChat: () => void;
}

export interface TurnsProps {
  branch: readonly Turn[];
  tree: Tree;
  /** The turn that is being written. */
  live: ReadonlySignal<Turn | null>;
  liveId: Id | null;
  /** Nothing can be asked again, edited or chosen meanwhile. */
  isAnswering: boolean;
  /** A call that waits for the person. */
  pending: PendingApproval | null;
  actions: TurnActions;
}

export type TurnProps = Pick<TurnsProps, "tree" | "isAnswering" | "pending" | "actions"> & {
  turn: Turn;
  live: ReadonlySignal<Turn | null> | null;
  isLast: boolean;
};
