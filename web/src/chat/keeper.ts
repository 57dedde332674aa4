/**
 * Keeps what is said while it is said: a tab that is killed loses half a second at most.
 *
 * A turn that streams is written twice a second, and at once when it ends and when the page is hidden
 * or goes. Each conversation that is being written to holds a Web Lock, which ends with its tab however
 * that ends: a turn that says "streaming" without one was interrupted.
 */
import type { Conversation, Id, Turn } from "./types.ts";

/** Between two writes of one turn. A turn is written whole: oftener would write a long one too often. */
export const SAVING_MILLISECONDS = 500;

/** Shared by all tabs that write to the conversation whose id follows. */
export const WRITING_LOCK = "transom-writes:";

/** The part of `Database` that is used. */
export interface TurnDatabase {
  conversation: (id: Id) => Promise<Conversation | undefined>;
  turns: (conversation: Id) => Promise<readonly Turn[]>;
  putConversation: (conversation: Conversation) => Promise<void>;
  changeConversation: (id: Id, about: Partial<Conversation>) => Promise<void>;
  /** The write is on its way when this returns. */
  putTurn: (turn: Turn) => Promise<void>;
}

interface LockFacts {
  name?: string;
  mode?: "shared" | "exclusive";
}

/** The part of `navigator.locks` that is used. */
export interface WritingLocks {
  request: (
    name: string,
    options: { mode: "shared" | "exclusive" },
    work: () => Promise<void>,
  ) => Promise<unknown>;
  query: () => Promise<{ held?: LockFacts[]; pending?: LockFacts[] }>;
}

/** Calls back whenever the page may go without another word. */
export type OnHiding = (callback: () => void) => void;

export interface KeeperOptions {
  database: TurnDatabase;
  /** Null: this browser has none, and each tab counts as the only one. */
  locks: WritingLocks | null;
  onHiding: OnHiding;
  /** Another tab wrote to it when it was read, and does not any more, however that ended. */
  onWritten?: (conversation: Id) => void;
}

export interface ReadConversation {
  conversation: Conversation;
  /** Oldest first. */
  turns: readonly Turn[];
}

export class Keeper {
  readonly #database: TurnDatabase;
  readonly #locks: WritingLocks | null;
  readonly #onWritten: (conversation: Id) => void;
  /** Conversations whose writers' end is awaited. */
  readonly #awaited = new Set<Id>();
  /** By turn: the newest that is not written yet (null: all is), until the next write may be. */
  readonly #waiting = new Map<Id, { turn: Turn | null; timer: ReturnType<typeof setTimeout> }>();
  /** What lets go of each conversation's lock. */
  readonly #writing = new Map<Id, () => void>();

  constructor({ database, locks, onHiding, onWritten = () => undefined }: KeeperOptions) {
    this.#database = database;
    this.#locks = locks;
    this.#onWritten = onWritten;
    onHiding(() => {
      this.flush();
    });
  }

  /** Null: there is none. A turn that nobody writes any more is "interrupted", and kept as that. */
  async read(id: Id): Promise<ReadConversation | null> {
    const [conversation, turns] = await Promise.all([
      this.#database.conversation(id),
      this.#database.turns(id),
    ]);
    if (conversation === undefined) {
      return null;
    }
    if (!turns.some(({ state }) => state === "streaming")) {
      return { conversation, turns };
    }
    if (await this.#isWritten(id)) {
      this.#awaitEnd(id);
      return { conversation, turns };
    }
    const settled = turns.map((turn) => interrupted(turn));
    for (const [index, turn] of settled.entries()) {
      if (turn !== turns[index]) {
        void this.#database.putTurn(turn);
      }
    }
    return { conversation, turns: settled };
  }

  keepConversation(conversation: Conversation): void {
    void this.#database.putConversation(conversation);
  }

  changeConversation(id: Id, about: Partial<Conversation>): void {
    void this.#database.changeConversation(id, about);
  }

  /** Soon while it streams; at once when it has ended, and the first time. */
  keepTurn(turn: Turn): void {
    const waiting = this.#waiting.get(turn.id);
    if (turn.state !== "streaming") {
      clearTimeout(waiting?.timer);
      this.#waiting.delete(turn.id);
      void this.#database.putTurn(turn);
    } else if (waiting === undefined) {
      this.#write(turn);
    } else {
      waiting.turn = turn;
    }
  }

  /** This tab writes to a conversation until `end`. */
  begin(conversation: Id): void {
    if (this.#writing.has(conversation)) {
      return;
    }
    const ended = new Promise<void>((resolve) => {
      this.#writing.set(conversation, resolve);
    });
    this.#locks
      ?.request(WRITING_LOCK + conversation, { mode: "shared" }, () => ended)
      .catch(() => {
        // A page that is going gets none, and needs none.
      });
  }

  end(conversation: Id): void {
    this.flush();
    this.#writing.get(conversation)?.();
    this.#writing.delete(conversation);
  }

  /** Write now what waits. */
  flush(): void {
    for (const { turn, timer } of [...this.#waiting.values()]) {
      if (turn !== null) {
        clearTimeout(timer);
        this.#write(turn);
      }
    }
  }

  #write(turn: Turn): void {
    void this.#database.putTurn(turn);
    const timer = setTimeout(() => {
      const waiting = this.#waiting.get(turn.id);
      this.#waiting.delete(turn.id);
      if (waiting !== undefined && waiting.turn !== null) {
        this.#write(waiting.turn);
      }
    }, SAVING_MILLISECONDS);
    this.#waiting.set(turn.id, { turn: null, timer });
  }

  /** By a tab that lives: this one, or another. */
  async #isWritten(conversation: Id): Promise<boolean> {
    if (this.#writing.has(conversation)) {
      return true;
    }
    const { held = [], pending = [] } = (await this.#locks?.query()) ?? {};
    const name = WRITING_LOCK + conversation;
    return [...held, ...pending].some((lock) => lock.name === name && lock.mode !== "exclusive");
  }

  /** Nobody else tells of a tab that was killed: its lock does, which comes to us when it goes. */
  #awaitEnd(conversation: Id): void {
    if (
      this.#locks === null ||
      this.#writing.has(conversation) ||
      this.#awaited.has(conversation)
    ) {
      return;
    }
    this.#awaited.add(conversation);
    this.#locks
      .request(WRITING_LOCK + conversation, { mode: "exclusive" }, () => Promise.resolve())
      .then(
        () => {
          this.#awaited.delete(conversation);
          this.#onWritten(conversation);
        },
        () => {
          // A page that is going gets none, and needs none.
          this.#awaited.delete(conversation);
        },
      );
  }
}

/** For `KeeperOptions.onHiding`: phones end hidden pages without asking, and no page hears of that. */
export function whenHiding(callback: () => void): void {
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "hidden") {
      callback();
    }
  });
  window.addEventListener("pagehide", callback);
}

function interrupted(turn: Turn): Turn {
  return turn.state === "streaming" ? { ...turn, state: "interrupted" } : turn;
}
