/**
 * Rows of the chat's database, and transactions over them: in IndexedDB, and what IndexedDB would
 * not take, in memory.
 *
 * Knows stores and keys, nothing of what conversations mean.
 */
import type { DBSchema, IDBPDatabase, IDBPTransaction, StoreNames } from "idb";

import type { Conversation, Id, Preset, Time, Turn } from "./types.ts";

/** Version 1, 2026-11. Another version needs an `upgrade` in `database.ts` that keeps what is there. */
export const SCHEMA_VERSION = 1;

export interface Schema extends DBSchema {
  conversations: { key: Id; value: Conversation };
  turns: { key: Id; value: TurnRow; indexes: { conversation: Id; files: string } };
  files: { key: string; value: FileRow; indexes: { draftedAt: Time } };
  presets: { key: Id; value: Preset };
  settings: { key: string; value: SettingRow };
  mcpServers: { key: Id; value: McpServerRow };
  passages: { key: [string, string]; value: PassagesRow; indexes: { sha256: string } };
}

/** A turn, and the digests of its attachments: an index cannot look into a list of objects. */
export interface TurnRow extends Turn {
  files: readonly string[];
}

export interface FileRow {
  /** Hexadecimal sha256 of `blob`. */
  sha256: string;
  mediaType: string;
  blob: Blob;
  /** Of documents that were read: plain text of each page. */
  text?: { pages: readonly string[] };
  /** When it was put into a draft; null: it came with a turn that is kept, and goes with it. */
  draftedAt: Time | null;
}

export interface SettingRow {
  key: string;
  value: unknown;
}

/** A remote MCP server, as `web/src/tools` describes it. */
export interface McpServerRow {
  id: Id;
}

/** A document cut into passages, with the vectors that one embedding model gave them. */
export interface PassagesRow {
  /** Of the document's file. */
  sha256: string;
  /** Who made the vectors, and how the text was cut: whatever must match for a second use. "": no vectors. */
  model: string;
  passages: readonly { page: number; text: string }[];
  /** One for each passage, of length 1; empty without a model. */
  vectors: readonly Float32Array[];
}

export type StoreName = StoreNames<Schema>;
export type Row<S extends StoreName> = Schema[S]["value"];
export type Key<S extends StoreName> = Schema[S]["key"];

/** What a transaction does. Writes count only when the whole of it succeeds. */
export interface Rows {
  get<S extends StoreName>(store: S, key: Key<S>): Promise<Row<S> | undefined>;
  all<S extends StoreName>(store: S): Promise<Row<S>[]>;
  turnsOf(conversation: Id): Promise<TurnRow[]>;
  /** Each once. */
  conversationsWithTurns(): Promise<Id[]>;
  turnsWith(file: string): Promise<TurnRow[]>;
  draftsBefore(time: Time): Promise<FileRow[]>;
  passagesOf(file: string): Promise<PassagesRow[]>;
  put<S extends StoreName>(store: S, row: Row<S>): void;
  delete<S extends StoreName>(store: S, key: Key<S>): void;
}

type AnyRow = Row<StoreName>;

/** The key of a row, as its store's key path says. */
export function keyOf<S extends StoreName>(store: S, row: Row<S>): Key<S> {
  const fields = row as unknown as Record<string, string>;
  switch (store) {
    case "files":
      return fields["sha256"] as Key<S>;
    case "settings":
      return fields["key"] as Key<S>;
    case "passages":
      return [fields["sha256"], fields["model"]] as unknown as Key<S>;
    case "conversations":
    case "turns":
    case "presets":
    case "mcpServers":
      return fields["id"] as Key<S>;
  }
}

/** Stores of a new database. */
export function createStores(database: IDBPDatabase<Schema>): void {
  database.createObjectStore("conversations", { keyPath: "id" });
  const turns = database.createObjectStore("turns", { keyPath: "id" });
  turns.createIndex("conversation", "conversation");
  turns.createIndex("files", "files", { multiEntry: true });
  // null is no key: only drafts are in this index.
  database.createObjectStore("files", { keyPath: "sha256" }).createIndex("draftedAt", "draftedAt");
  database.createObjectStore("presets", { keyPath: "id" });
  database.createObjectStore("settings", { keyPath: "key" });
  database.createObjectStore("mcpServers", { keyPath: "id" });
  const passages = database.createObjectStore("passages", { keyPath: ["sha256", "model"] });
  passages.createIndex("sha256", "sha256");
}

type Transaction = IDBPTransaction<Schema, StoreName[], "readonly" | "readwrite">;

/** A transaction of IndexedDB. */
export class StoredRows implements Rows {
  readonly #transaction: Transaction;

  constructor(transaction: Transaction) {
    this.#transaction = transaction;
  }

  get<S extends StoreName>(store: S, key: Key<S>): Promise<Row<S> | undefined> {
    return this.#transaction.objectStore(store).get(key);
  }

  all<S extends StoreName>(store: S): Promise<Row<S>[]> {
    return this.#transaction.objectStore(store).getAll();
  }

  turnsOf(conversation: Id): Promise<TurnRow[]> {
    return this.#transaction.objectStore("turns").index("conversation").getAll(conversation);
  }

  async conversationsWithTurns(): Promise<Id[]> {
    const index = this.#transaction.objectStore("turns").index("conversation");
    const ids: Id[] = [];
    for (
      let cursor = await index.openKeyCursor(null, "nextunique");
      cursor !== null;
      cursor = await cursor.continue()
    ) {
      ids.push(cursor.key);
    }
    return ids;
  }

  draftsBefore(time: Time): Promise<FileRow[]> {
    const index = this.#transaction.objectStore("files").index("draftedAt");
    return index.getAll(IDBKeyRange.upperBound(time, true));
  }

  turnsWith(file: string): Promise<TurnRow[]> {
    return this.#transaction.objectStore("turns").index("files").getAll(file);
  }

  passagesOf(file: string): Promise<PassagesRow[]> {
    return this.#transaction.objectStore("passages").index("sha256").getAll(file);
  }

  put<S extends StoreName>(store: S, row: Row<S>): void {
    // The transaction itself tells whoever waits for it what went wrong.
    this.#transaction.objectStore(store).put?.(row).catch(ignore);
  }

  delete<S extends StoreName>(store: S, key: Key<S>): void {
    this.#transaction.objectStore(store).delete?.(key).catch(ignore);
  }
}

/** Rows in memory: null stands for one that was deleted, whatever is stored below it. */
export class MemoryRows {
  readonly #stores = new Map<StoreName, Map<string, AnyRow | null>>();

  get isEmpty(): boolean {
    return [...this.#stores.values()].every((rows) => rows.size === 0);
  }

  /** Undefined: nothing is known of it here. */
  get<S extends StoreName>(store: S, key: Key<S>): Row<S> | null | undefined {
    return this.#store(store).get(JSON.stringify(key));
  }

  set<S extends StoreName>(store: S, key: Key<S>, row: Row<S> | null): void {
    this.#store(store).set(JSON.stringify(key), row);
  }

  /** Forget what is said of a row here, unless it is newer than `row`. */
  drop<S extends StoreName>(store: S, key: Key<S>, row: Row<S> | null): void {
    if (this.get(store, key) === row) {
      this.#store(store).delete(JSON.stringify(key));
    }
  }

  *changes(): Generator<RowChange> {
    for (const [store, rows] of this.#stores) {
      for (const [key, row] of rows) {
        yield { store, key: JSON.parse(key) as Key<StoreName>, row };
      }
    }
  }

  /** Those stored, and over them what is here. */
  over<S extends StoreName>(store: S, stored: readonly Row<S>[]): Row<S>[] {
    const here = this.#store(store) as Map<string, Row<S> | null>;
    if (here.size === 0) {
      return [...stored];
    }
    const below = stored.filter((row) => !here.has(JSON.stringify(keyOf(store, row))));
    return [...below, ...[...here.values()].filter((row) => row !== null)];
  }

  #store(store: StoreName): Map<string, AnyRow | null> {
    const rows = this.#stores.get(store) ?? new Map<string, AnyRow | null>();
    this.#stores.set(store, rows);
    return rows;
  }
}

export interface RowChange {
  store: StoreName;
  key: Key<StoreName>;
  row: AnyRow | null;
}

/** What is in memory over what is stored; told to `write`, whatever is written. */
export class LayeredRows implements Rows {
  readonly #memory: MemoryRows;
  readonly #stored: Rows | null;
  readonly #write: (change: RowChange) => void;

  constructor(memory: MemoryRows, stored: Rows | null, write: (change: RowChange) => void) {
    this.#memory = memory;
    this.#stored = stored;
    this.#write = write;
  }

  async get<S extends StoreName>(store: S, key: Key<S>): Promise<Row<S> | undefined> {
    const row = this.#memory.get(store, key);
    return row === undefined ? this.#stored?.get(store, key) : (row ?? undefined);
  }

  async all<S extends StoreName>(store: S): Promise<Row<S>[]> {
    return this.#memory.over(store, (await this.#stored?.all(store)) ?? []);
  }

  async turnsOf(conversation: Id): Promise<TurnRow[]> {
    const stored = (await this.#stored?.turnsOf(conversation)) ?? [];
    return this.#memory.over("turns", stored).filter((row) => row.conversation === conversation);
  }

  async conversationsWithTurns(): Promise<Id[]> {
    const stored = (await this.#stored?.conversationsWithTurns()) ?? [];
    const here = this.#memory.over("turns", []).map(({ conversation }) => conversation);
    return [...new Set([...stored, ...here])];
  }

  async draftsBefore(time: Time): Promise<FileRow[]> {
    const stored = (await this.#stored?.draftsBefore(time)) ?? [];
    return this.#memory
      .over("files", stored)
      .filter(({ draftedAt }) => draftedAt !== null && draftedAt < time);
  }

  async turnsWith(file: string): Promise<TurnRow[]> {
    const stored = (await this.#stored?.turnsWith(file)) ?? [];
    return this.#memory.over("turns", stored).filter((row) => row.files.includes(file));
  }

  async passagesOf(file: string): Promise<PassagesRow[]> {
    const stored = (await this.#stored?.passagesOf(file)) ?? [];
    return this.#memory.over("passages", stored).filter((row) => row.sha256 === file);
  }

  put<S extends StoreName>(store: S, row: Row<S>): void {
    this.#write({ store, key: keyOf(store, row), row });
  }

  delete<S extends StoreName>(store: S, key: Key<S>): void {
    this.#write({ store, key, row: null });
  }
}

function ignore(): void {
  // Nothing to do.
}
