/**
 * Rows kept in IndexedDB, and in memory what IndexedDB would not take.
 *
 * Nothing that is written gets lost while its page lives: what the browser refuses (private window,
 * no room, a newer version of the app in another tab) stays in memory, lies over whatever is stored,
 * and is stored after the next write that succeeds. `keeping` says which of it is so.
 */
import { type ReadonlySignal, signal } from "@preact/signals";
import { type IDBPDatabase, openDB } from "idb";

import { TransomError } from "../errors.ts";
import {
  LayeredRows,
  MemoryRows,
  type RowChange,
  type Rows,
  SCHEMA_VERSION,
  type Schema,
  type StoreName,
  StoredRows,
  createStores,
} from "./rows.ts";

export const DATABASE_NAME = "transom";

/** Safari may never answer the first `open` of a visit; the app starts without it, and takes it when it comes. */
const OPENING_MILLISECONDS = 5000;

/** Whether what is said now will be there on the next visit, and if not, why. */
export type Keeping =
  | "kept"
  /** The browser keeps nothing here, as in some private windows. */
  | "refused"
  /** There is no room on this device. */
  | "full"
  /** Another tab still runs an older version of this app: it has to be closed. */
  | "blocked"
  /** Another tab runs a newer version of this app: this one has to be reloaded. */
  | "outdated";

export const EVERYTHING: readonly StoreName[] = [
  "conversations",
  "turns",
  "files",
  "presets",
  "settings",
  "mcpServers",
  "passages",
];

/** What was only in memory is stored now, or what was stored can be read now. */
type OnNews = () => void;

export class RowStore {
  readonly #keeping = signal<Keeping>("kept");
  readonly #memory = new MemoryRows();
  readonly #onNews: OnNews;
  #stored: IDBPDatabase<Schema> | null = null;
  /** There is something stored that cannot be read any more. */
  #isCutOff = false;

  constructor(onNews: OnNews) {
    this.#onNews = onNews;
  }

  get keeping(): ReadonlySignal<Keeping> {
    return this.#keeping;
  }

  close(): void {
    this.#stored?.close();
    this.#stored = null;
  }

  /** Never rejects, and answers within 5 s. */
  async open(): Promise<void> {
    let isLate = false;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, OPENING_MILLISECONDS);
      void this.#open({
        onBlocked: () => {
          this.#keeping.value = "blocked";
          resolve();
        },
        isLate: () => isLate,
      }).finally(() => {
        clearTimeout(timer);
        resolve();
      });
    });
    isLate = true;
    if (this.#stored === null && this.#keeping.value === "kept") {
      this.#keeping.value = "refused";
    }
  }

  async #open(about: { onBlocked: () => void; isLate: () => boolean }): Promise<void> {
    try {
      this.#stored = await openDB<Schema>(DATABASE_NAME, SCHEMA_VERSION, {
        upgrade: createStores,
        blocked: about.onBlocked,
        blocking: (_ours, theirs) => {
          // A newer version of the app waits for us to let go, or somebody deletes the database.
          this.#stored?.close();
          this.#lose(theirs === null ? "refused" : "outdated");
        },
        terminated: () => {
          this.#lose("refused");
          void this.open();
        },
      });
    } catch (error) {
      const isNewer = error instanceof DOMException && error.name === "VersionError";
      this.#keeping.value = isNewer ? "outdated" : "refused";
      return;
    }
    this.#keeping.value = "kept";
    await this.#storeMemory();
    if (about.isLate()) {
      this.#onNews();
    }
  }

  /** @throws TransomError when a newer version of the app has taken what is stored. */
  async read<T>(stores: readonly StoreName[], work: (rows: Rows) => Promise<T>): Promise<T> {
    const stored = this.#stored;
    if (stored === null && this.#isCutOff) {
      throw new TransomError(
        "internal",
        "Another tab runs a newer version of this app. Reload this page to go on.",
      );
    }
    const below = stored === null ? null : new StoredRows(stored.transaction([...stores]));
    return work(new LayeredRows(this.#memory, below, () => undefined));
  }

  /**
   * One transaction, which is on its way when this returns; in memory where storage refuses, for
   * which `work` runs a second time.
   */
  async write<T>(stores: readonly StoreName[], work: (rows: Rows) => Promise<T> | T): Promise<T> {
    const stored = this.#stored;
    if (stored !== null) {
      try {
        const written = new MemoryRows();
        const result = await transact(stored, stores, (rows) => {
          const below = new LayeredRows(this.#memory, rows, () => undefined);
          return work(
            new LayeredRows(written, below, (change) => {
              written.set(change.store, change.key, change.row);
              writeTo(rows, change);
            }),
          );
        });
        this.#forget([...written.changes()]);
        return result;
      } catch (error) {
        this.#keeping.value = keepingAfter(error);
      }
    }
    const below =
      this.#stored === null ? null : new StoredRows(this.#stored.transaction([...stores]));
    return work(
      new LayeredRows(this.#memory, below, ({ store, key, row }) => {
        this.#memory.set(store, key, row);
      }),
    );
  }

  /** A write succeeded: what it wrote needs no memory any more, and the rest may fit now as well. */
  #forget(written: readonly RowChange[]): void {
    for (const { store, key } of written) {
      this.#memory.drop(store, key, this.#memory.get(store, key) ?? null);
    }
    if (!this.#memory.isEmpty) {
      void this.#storeMemory();
    } else if (this.#stored !== null) {
      this.#keeping.value = "kept";
    }
  }

  async #storeMemory(): Promise<void> {
    const stored = this.#stored;
    const changes = [...this.#memory.changes()];
    if (stored === null || changes.length === 0) {
      return;
    }
    try {
      await transact(stored, EVERYTHING, (rows) => {
        for (const change of changes) {
          writeTo(rows, change);
        }
      });
    } catch (error) {
      this.#keeping.value = keepingAfter(error);
      return;
    }
    for (const { store, key, row } of changes) {
      this.#memory.drop(store, key, row);
    }
    this.#keeping.value = "kept";
    this.#onNews();
  }

  /**
   * Only into storage, all of it or nothing.
   * @throws TransomError where this browser would not keep it.
   */
  async writeForGood(
    stores: readonly StoreName[],
    work: (rows: Rows) => Promise<void> | void,
  ): Promise<void> {
    if (this.#stored === null) {
      throw new TransomError("no-room", "This browser keeps nothing for this page.");
    }
    try {
      await transact(this.#stored, stores, work);
    } catch (cause) {
      const why =
        keepingAfter(cause) === "full"
          ? "There is no room for it"
          : "This browser would not keep it";
      throw new TransomError("no-room", `${why}: nothing of it is kept.`, { cause });
    }
  }

  #lose(keeping: Keeping): void {
    this.#stored = null;
    this.#isCutOff = keeping === "outdated";
    this.#keeping.value = keeping;
  }
}

/** Either all of it is stored when this resolves, or nothing. */
async function transact<T>(
  stored: IDBPDatabase<Schema>,
  stores: readonly StoreName[],
  work: (rows: Rows) => Promise<T> | T,
): Promise<T> {
  // On the disk when it says so, whatever happens to the browser or the machine.
  const transaction = stored.transaction([...stores], "readwrite", { durability: "strict" });
  transaction.done.catch(() => undefined);
  try {
    const result = await work(new StoredRows(transaction));
    // Said aloud, a commit needs nobody to wait for it: the page may go now.
    transaction.commit();
    await transaction.done;
    return result;
  } catch (error) {
    // Null unless the browser gave up by itself; then it says why.
    const reason = transaction.error;
    try {
      transaction.abort();
    } catch {
      // It is over already.
    }
    throw reason ?? error;
  }
}

/** What an error of storage means for what is said from now on; throws whatever is none. */
function keepingAfter(error: unknown): Keeping {
  // What cannot be cloned or is no key is a mistake of ours, and no other place would take it.
  const isOurs = ["DataCloneError", "DataError", "NotFoundError"];
  if (!(error instanceof DOMException) || isOurs.includes(error.name)) {
    throw error;
  }
  return error.name === "QuotaExceededError" ? "full" : "refused";
}

function writeTo(rows: Rows, { store, key, row }: RowChange): void {
  if (row === null) {
    rows.delete(store, key);
  } else {
    rows.put(store, row);
  }
}
