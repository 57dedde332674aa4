/**
 * Where conversations are kept, with their turns, files, presets and settings.
 *
 * Reads and writes go through `row-store.ts`: nothing that is said gets lost while its page lives,
 * and `keeping` says whether it will be there on the next visit. Other tabs hear what changed
 * (`changes.ts`).
 */
import type { ReadonlySignal } from "@preact/signals";

import { type Change, ChangeChannel, type Listener } from "./changes.ts";
import { EVERYTHING, type Keeping, RowStore } from "./row-store.ts";
import type {
  FileRow,
  Key,
  McpServerRow,
  PassagesRow,
  Row,
  Rows,
  StoreName,
  TurnRow,
} from "./rows.ts";
import {
  type LoneFiles,
  deleteLoneFiles,
  deleteTurnRows,
  putTurnRow,
  rowOf,
  turnOf,
} from "./turn-rows.ts";
import type { Conversation, Id, Preset, Time, Turn } from "./types.ts";

export type { Change } from "./changes.ts";
export { DATABASE_NAME, type Keeping } from "./row-store.ts";
export type { FileRow, McpServerRow, PassagesRow } from "./rows.ts";

/** A file that waited so long in a draft that its tab must be gone. */
const DRAFT_MILLISECONDS = 24 * 60 * 60 * 1000;

/** What was deleted, for `restore`. */
export interface Deleted extends LoneFiles {
  conversations: readonly Conversation[];
  turns: readonly TurnRow[];
}

/** What an import brings, checked. */
export interface Bundle {
  conversations: readonly Conversation[];
  turns: readonly Turn[];
  files: readonly Pick<FileRow, "sha256" | "mediaType" | "blob">[];
  presets: readonly Preset[];
}

/** Opens the database; never rejects, and answers within 5 s. */
export async function openDatabase(now: () => Time = Date.now): Promise<Database> {
  const database = new Database(now);
  await database.open();
  return database;
}

export class Database {
  readonly #channel = new ChangeChannel();
  readonly #store = new RowStore(() => {
    this.#tellEverything();
  });
  readonly #now: () => Time;
  /** Their turns come too late, from whoever still writes one. */
  readonly #deleted = new Set<Id>();

  constructor(now: () => Time) {
    this.#now = now;
    this.#channel.listen((change) => {
      this.#noteDeleted(change);
    });
  }

  /** Whether what is said now will be there on the next visit. */
  get keeping(): ReadonlySignal<Keeping> {
    return this.#store.keeping;
  }

  async open(): Promise<void> {
    await this.#store.open();
    void this.#sweep();
  }

  /** Hears of each change, in this tab and in others; returns what ends it. */
  listen(listener: Listener): () => void {
    return this.#channel.listen(listener);
  }

  /** For tests: as if the tab were closed. */
  close(): void {
    this.#store.close();
    this.#channel.close();
  }

  // Conversations

  /** All, the one changed last first. */
  async conversations(): Promise<readonly Conversation[]> {
    const all = await this.#store.read(["conversations"], (rows) => rows.all("conversations"));
    return all.sort((one, other) => other.updatedAt - one.updatedAt);
  }

  conversation(id: Id): Promise<Conversation | undefined> {
    return this.#store.read(["conversations"], (rows) => rows.get("conversations", id));
  }

  async putConversation(conversation: Conversation): Promise<void> {
    if (this.#deleted.has(conversation.id)) {
      return;
    }
    await this.#store.write(["conversations"], (rows) => {
      rows.put("conversations", conversation);
    });
    this.#channel.tell({ kind: "conversation", id: conversation.id });
  }

  /** Fields of one that is here; nothing where it is not. What another tab changed stays. */
  async changeConversation(id: Id, about: Partial<Conversation>): Promise<void> {
    const isHere = await this.#store.write(["conversations"], async (rows) => {
      const conversation = await rows.get("conversations", id);
      if (conversation !== undefined) {
        rows.put("conversations", { ...conversation, ...about });
      }
      return conversation !== undefined;
    });
    if (isHere) {
      this.#channel.tell({ kind: "conversation", id });
    }
  }

  /**
   * Deletes conversations, their turns, and the files that no other conversation has. What is still
   * being written of them is not kept.
   */
  async deleteConversations(ids: readonly Id[]): Promise<Deleted> {
    const change: Change = { kind: "deleted", conversations: ids };
    this.#noteDeleted(change);
    const deleted = await this.#store.write(
      ["conversations", "turns", "files", "passages"],
      async (rows) => {
        const found = await Promise.all(ids.map((id) => rows.get("conversations", id)));
        const turns = (await Promise.all(ids.map((id) => rows.turnsOf(id)))).flat();
        for (const id of ids) {
          rows.delete("conversations", id);
        }
        const left = await deleteTurnRows(rows, turns);
        return { conversations: found.filter((one) => one !== undefined), turns, ...left };
      },
    );
    this.#channel.tell(change);
    return deleted;
  }

  /** Puts back what `deleteConversations` took. */
  async restore(deleted: Deleted): Promise<void> {
    for (const { id } of deleted.conversations) {
      this.#deleted.delete(id);
    }
    await this.#store.write(["conversations", "turns", "files", "passages"], (rows) => {
      putAll(rows, "conversations", deleted.conversations);
      putAll(rows, "turns", deleted.turns);
      putAll(rows, "files", deleted.files);
      putAll(rows, "passages", deleted.passages);
    });
    const ids = deleted.conversations.map(({ id }) => id);
    this.#channel.tell({ kind: "restored", conversations: ids });
  }

  // Turns

  /** Of one conversation, oldest first. Those of tabs that died say "streaming": see `keeper.ts`. */
  async turns(conversation: Id): Promise<readonly Turn[]> {
    const rows = await this.#store.read(["turns"], (all) => all.turnsOf(conversation));
    return rows.map(turnOf).sort((one, other) => one.createdAt - other.createdAt);
  }

  /** Of all conversations, for search and export. */
  async allTurns(): Promise<readonly Turn[]> {
    const rows = await this.#store.read(["turns"], (all) => all.all("turns"));
    return rows.map(turnOf).sort((one, other) => one.createdAt - other.createdAt);
  }

  /**
   * Keeps a turn. Its transaction is on its way when this returns its promise, so that it counts even
   * in the last moment of a page.
   */
  async putTurn(turn: Turn): Promise<void> {
    if (this.#deleted.has(turn.conversation)) {
      return;
    }
    await this.#store.write(
      turn.attachments.length === 0 ? ["turns"] : ["turns", "files"],
      (rows) => putTurnRow(rows, turn),
    );
    this.#channel.tell({ kind: "turns", conversation: turn.conversation });
  }

  /** Of one conversation, with the files that nobody else has. */
  async deleteTurns(conversation: Id, ids: readonly Id[]): Promise<void> {
    await this.#store.write(["turns", "files", "passages"], async (rows) => {
      const wanted = new Set(ids);
      const turns = (await rows.turnsOf(conversation)).filter(({ id }) => wanted.has(id));
      await deleteTurnRows(rows, turns);
    });
    this.#channel.tell({ kind: "turns", conversation });
  }

  // Files and passages of documents

  file(sha256: string): Promise<FileRow | undefined> {
    return this.#store.read(["files"], (rows) => rows.get("files", sha256));
  }

  /** Keeps a file of a draft. It stays for as long as a turn names it, or for a day. */
  async putFile(file: Omit<FileRow, "draftedAt">): Promise<void> {
    const draftedAt = this.#now();
    await this.#store.write(["files"], async (rows) => {
      rows.put("files", { ...(await rows.get("files", file.sha256)), ...file, draftedAt });
    });
  }

  /** A draft let go of a file. */
  async releaseFile(sha256: string): Promise<void> {
    await this.#store.write(["turns", "files", "passages"], (rows) =>
      deleteLoneFiles(rows, [sha256], "drafts too"),
    );
  }

  /** Passages of a document as one model and one way of cutting made them. */
  passages(sha256: string, model: string): Promise<PassagesRow | undefined> {
    return this.#store.read(["passages"], (rows) => rows.get("passages", [sha256, model]));
  }

  /** Nothing is kept of a file that went meanwhile. */
  putPassages(passages: PassagesRow): Promise<void> {
    return this.#store.write(["passages", "files"], async (rows) => {
      if ((await rows.get("files", passages.sha256)) !== undefined) {
        rows.put("passages", passages);
      }
    });
  }

  // Presets, settings, MCP servers

  presets(): Promise<readonly Preset[]> {
    return this.#store.read(["presets"], (rows) => rows.all("presets"));
  }

  putPreset(preset: Preset): Promise<void> {
    return this.#put("presets", preset, { kind: "presets" });
  }

  deletePreset(id: Id): Promise<void> {
    return this.#delete("presets", id, { kind: "presets" });
  }

  /** Undefined: nobody chose. Whoever asks checks it, for an earlier version may have put it. */
  async setting(key: string): Promise<unknown> {
    return (await this.#store.read(["settings"], (rows) => rows.get("settings", key)))?.value;
  }

  putSetting(key: string, value: unknown): Promise<void> {
    return this.#put("settings", { key, value }, { kind: "setting", key });
  }

  /** As they were put. */
  mcpServers(): Promise<readonly McpServerRow[]> {
    return this.#store.read(["mcpServers"], (rows) => rows.all("mcpServers"));
  }

  putMcpServer(server: McpServerRow): Promise<void> {
    return this.#put("mcpServers", server, { kind: "mcpServers" });
  }

  deleteMcpServer(id: Id): Promise<void> {
    return this.#delete("mcpServers", id, { kind: "mcpServers" });
  }

  // All at once

  /**
   * Keeps what an import brought: all of it, or nothing.
   * @throws TransomError where this browser would not keep it.
   */
  async importAll(bundle: Bundle): Promise<void> {
    const stores = ["conversations", "turns", "files", "presets"] as const;
    await this.#store.writeForGood(stores, async (rows) => {
      putAll(rows, "conversations", bundle.conversations);
      putAll(rows, "presets", bundle.presets);
      putAll(rows, "turns", bundle.turns.map(rowOf));
      for (const file of bundle.files) {
        const known = await rows.get("files", file.sha256);
        rows.put("files", { draftedAt: null, ...known, ...file });
      }
    });
    this.#tellEverything();
  }

  /** Deletes all that is kept. */
  async wipe(): Promise<void> {
    await this.#store.write(EVERYTHING, async (rows) => {
      for (const { id } of await rows.all("conversations")) {
        rows.delete("conversations", id);
        this.#deleted.add(id);
      }
      for (const { id } of await rows.all("turns")) rows.delete("turns", id);
      for (const { sha256 } of await rows.all("files")) rows.delete("files", sha256);
      for (const { id } of await rows.all("presets")) rows.delete("presets", id);
      for (const { key } of await rows.all("settings")) rows.delete("settings", key);
      for (const { id } of await rows.all("mcpServers")) rows.delete("mcpServers", id);
      for (const row of await rows.all("passages")) {
        rows.delete("passages", [row.sha256, row.model]);
      }
    });
    this.#tellEverything();
  }

  async #put<S extends StoreName>(store: S, row: Row<S>, change: Change): Promise<void> {
    await this.#store.write([store], (rows) => {
      rows.put(store, row);
    });
    this.#channel.tell(change);
  }

  async #delete<S extends StoreName>(store: S, key: Key<S>, change: Change): Promise<void> {
    await this.#store.write([store], (rows) => {
      rows.delete(store, key);
    });
    this.#channel.tell(change);
  }

  /** What tabs that died left behind: turns without a conversation, files of drafts. */
  async #sweep(): Promise<void> {
    await this.#store.write(["conversations", "turns", "files", "passages"], async (rows) => {
      for (const id of await rows.conversationsWithTurns()) {
        if ((await rows.get("conversations", id)) === undefined) {
          await deleteTurnRows(rows, await rows.turnsOf(id));
        }
      }
      const drafts = await rows.draftsBefore(this.#now() - DRAFT_MILLISECONDS);
      await deleteLoneFiles(
        rows,
        drafts.map(({ sha256 }) => sha256),
        "drafts too",
      );
    });
  }

  #noteDeleted(change: Change): void {
    if (change.kind === "deleted") {
      for (const id of change.conversations) {
        this.#deleted.add(id);
      }
    } else if (change.kind === "restored") {
      for (const id of change.conversations) {
        this.#deleted.delete(id);
      }
    }
  }

  #tellEverything(): void {
    this.#channel.tell({ kind: "everything" });
  }
}

function putAll<S extends StoreName>(rows: Rows, store: S, all: readonly Row<S>[]): void {
  for (const row of all) {
    rows.put(store, row);
  }
}
