/** What changed among the kept conversations, told to this tab and to all others. */
import type { Id } from "./types.ts";

/** Bound to the origin, like the database. */
const CHANNEL_NAME = "transom-chats";

export type Change =
  | { kind: "conversation"; id: Id }
  /** Turns of it came, changed, or went. */
  | { kind: "turns"; conversation: Id }
  | { kind: "deleted"; conversations: readonly Id[] }
  | { kind: "restored"; conversations: readonly Id[] }
  | { kind: "presets" }
  | { kind: "setting"; key: string }
  | { kind: "mcpServers" }
  /** Read all of it again. */
  | { kind: "everything" };

/** @param isOurs whether this tab did it. */
export type Listener = (change: Change, isOurs: boolean) => void;

export class ChangeChannel {
  readonly #listeners = new Set<Listener>();
  readonly #others = new BroadcastChannel(CHANNEL_NAME);

  constructor() {
    // Only pages of this origin can write here, and they say what we say: another version at worst
    // says something that no listener knows.
    this.#others.onmessage = ({ data }: MessageEvent<Change>) => {
      this.#hear(data, false);
    };
  }

  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => {
      this.#listeners.delete(listener);
    };
  }

  tell(change: Change): void {
    this.here(change);
    this.#others.postMessage(change);
  }

  /** Tells this tab only. */
  here(change: Change): void {
    this.#hear(change, true);
  }

  close(): void {
    this.#listeners.clear();
    this.#others.onmessage = null;
    this.#others.close();
  }

  #hear(change: Change, isOurs: boolean): void {
    for (const listener of [...this.#listeners]) {
      listener(change, isOurs);
    }
  }
}
