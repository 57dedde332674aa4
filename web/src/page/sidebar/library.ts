/**
 * What the sidebar does, over the database: names, pins, deletes, searches, saves and loads.
 *
 * Turns are read for the first search, and then followed as they change in any tab.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { Database } from "../../chat/database.ts";
import type { Change } from "../../chat/changes.ts";
import { type ExportedFile, fileNameOf, toJson, toMarkdown } from "../../chat/export.ts";
import { planImport, readConversationsFile } from "../../chat/import.ts";
import type { ReadConversation } from "../../chat/keeper.ts";
import { ChatSearch, type Hit } from "../../chat/search.ts";
import type { Conversation, Id, Turn } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { saveFile } from "../save-file.ts";
import type { ImportReport, SidebarActions } from "./sidebar.tsx";

export type LibraryActions = Omit<SidebarActions, "open" | "begin">;

export interface LibraryOptions {
  /** It opens while the page does. */
  database: Promise<Database>;
  /** A conversation that the chat holds: it would write its own over ours. True: the chat does it. */
  change: (id: Id, about: Pick<Partial<Conversation>, "title" | "isPinned">) => boolean;
  /** Conversations are about to be deleted: the chat stops, and shows another one. */
  onDelete: (id: Id) => void;
  /** Tests keep what would be downloaded. */
  save?: (name: string, blob: Blob) => void;
  now?: () => number;
}

export class Library implements LibraryActions {
  readonly #options: LibraryOptions;
  /** Null before the first search. */
  #search: Promise<ChatSearch> | null = null;
  /** Conversations whose turns changed since they were put in. */
  readonly #stale = new Set<Id>();
  readonly #lastDeleted = signal<{ id: Id; restore: () => Promise<void> } | null>(null);

  /** While the page lives; null: there is none, or it came back. */
  readonly lastDeleted: ReadonlySignal<{ id: Id } | null> = this.#lastDeleted;

  constructor(options: LibraryOptions) {
    this.#options = options;
  }

  readonly rename = (id: Id, title: string): void => {
    void this.#change(id, { title });
  };

  readonly pin = (id: Id, isPinned: boolean): void => {
    void this.#change(id, { isPinned });
  };

  readonly remove = async (id: Id): Promise<() => Promise<void>> => {
    this.#options.onDelete(id);
    const database = await this.#options.database;
    const deleted = await database.deleteConversations([id]);
    const restore = async () => {
      if (this.#lastDeleted.value?.id === id) {
        this.#lastDeleted.value = null;
      }
      await database.restore(deleted);
    };
    this.#lastDeleted.value = { id, restore };
    return restore;
  };

  /** Bring the last one back. */
  readonly undo = (): void => {
    void this.#lastDeleted.value?.restore();
  };

  readonly search = async (question: string): Promise<readonly Hit[]> => {
    this.#search ??= this.#begin();
    const search = await this.#search;
    const database = await this.#options.database;
    for (const id of [...this.#stale]) {
      this.#stale.delete(id);
      const conversation = await database.conversation(id);
      if (conversation === undefined) {
        search.delete(id);
      } else {
        search.put(conversation, await database.turns(id));
      }
    }
    return search.find(question);
  };

  readonly exportMarkdown = async (id: Id): Promise<void> => {
    const [read] = await this.#read(id);
    if (read !== undefined) {
      const text = toMarkdown(read, words.value.sidebar.markdown);
      const blob = new Blob([text], { type: "text/markdown;charset=utf-8" });
      this.#save(fileNameOf(read.conversation.title, "md"), blob);
    }
  };

  readonly exportJson = async (id: Id | null): Promise<void> => {
    const database = await this.#options.database;
    const conversations = await this.#read(id);
    const presets = id === null ? await database.presets() : [];
    const files = await filesOf(database, conversations);
    const now = (this.#options.now ?? Date.now)();
    const parts = toJson({ conversations, files, presets }, now);
    const title =
      id === null
        ? `Transom ${new Date(now).toISOString().slice(0, 10)}`
        : (conversations[0]?.conversation.title ?? "");
    this.#save(fileNameOf(title, "json"), new Blob([...parts], { type: "application/json" }));
  };

  readonly importFile = async (file: File): Promise<ImportReport> => {
    const imported = await readConversationsFile(file);
    const database = await this.#options.database;
    const conversations = await this.#read(null);
    const presets = await database.presets();
    const { bundle, added, known } = planImport(imported, {
      conversations: new Map(conversations.map((each) => [each.conversation.id, each])),
      turns: new Set(conversations.flatMap(({ turns }) => turns.map(({ id }) => id))),
      presets: new Map(presets.map((preset) => [preset.id, preset])),
    });
    await database.importAll(bundle);
    return { added, known };
  };

  async #change(id: Id, about: Pick<Partial<Conversation>, "title" | "isPinned">): Promise<void> {
    if (this.#options.change(id, about)) {
      return;
    }
    await (await this.#options.database).changeConversation(id, about);
  }

  /** One, or all. */
  async #read(id: Id | null): Promise<readonly ReadConversation[]> {
    const database = await this.#options.database;
    if (id !== null) {
      const conversation = await database.conversation(id);
      return conversation === undefined ? [] : [{ conversation, turns: await database.turns(id) }];
    }
    const turns = byConversation(await database.allTurns());
    const conversations = await database.conversations();
    return conversations.map((conversation) => ({
      conversation,
      turns: turns.get(conversation.id) ?? [],
    }));
  }

  async #begin(): Promise<ChatSearch> {
    const search = new ChatSearch();
    const database = await this.#options.database;
    // Before reading: what changes meanwhile is read again.
    database.listen((change) => {
      this.#follow(search, change).catch(() => {
        // Nothing can be read any more (`Keeping` "outdated"): what was found is all there is.
      });
    });
    for (const { conversation, turns } of await this.#read(null)) {
      search.put(conversation, turns);
    }
    return search;
  }

  async #follow(search: ChatSearch, change: Change): Promise<void> {
    switch (change.kind) {
      case "conversation":
        this.#stale.add(change.id);
        break;
      case "turns":
        this.#stale.add(change.conversation);
        break;
      case "deleted":
      case "restored":
        for (const id of change.conversations) {
          this.#stale.add(id);
        }
        break;
      case "everything":
        search.clear();
        for (const { conversation, turns } of await this.#read(null)) {
          search.put(conversation, turns);
        }
        break;
      case "presets":
      case "setting":
      case "mcpServers":
        break;
    }
  }

  #save(name: string, blob: Blob): void {
    (this.#options.save ?? saveFile)(name, blob);
  }
}

function byConversation(turns: readonly Turn[]): ReadonlyMap<Id, Turn[]> {
  const sorted = new Map<Id, Turn[]>();
  for (const turn of turns) {
    const siblings = sorted.get(turn.conversation);
    if (siblings === undefined) {
      sorted.set(turn.conversation, [turn]);
    } else {
      siblings.push(turn);
    }
  }
  return sorted;
}

/** Each once; a file that is lost is left out. */
async function filesOf(
  database: Database,
  conversations: readonly ReadConversation[],
): Promise<readonly ExportedFile[]> {
  const digests = conversations.flatMap(({ turns }) =>
    turns.flatMap(({ attachments }) => attachments.map(({ sha256 }) => sha256)),
  );
  const files: ExportedFile[] = [];
  for (const sha256 of new Set(digests)) {
    const file = await database.file(sha256);
    if (file !== undefined) {
      const bytes = new Uint8Array(await file.blob.arrayBuffer());
      files.push({ sha256, mediaType: file.mediaType, bytes });
    }
  }
  return files;
}
