import "fake-indexeddb/auto";
import { IDBFactory, IDBObjectStore } from "fake-indexeddb";
import { openDB } from "idb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { type Database, DATABASE_NAME, openDatabase } from "../../../web/src/chat/database.ts";
import type { Change } from "../../../web/src/chat/changes.ts";
import { conversation, documentOf, turn } from "./conversations.ts";

const DAY = 24 * 60 * 60 * 1000;

let tabs: Database[] = [];
let now = 0;

async function tab(): Promise<Database> {
  const database = await openDatabase(() => now);
  tabs.push(database);
  return database;
}

/** As if the tab were closed and another opened. */
async function reopened(): Promise<Database> {
  for (const each of tabs) {
    each.close();
  }
  return tab();
}

function refuseWrites(name: string) {
  return vi.spyOn(IDBObjectStore.prototype, "put").mockImplementation(() => {
    throw new DOMException("", name);
  });
}

beforeEach(() => {
  globalThis.indexedDB = new IDBFactory();
  now = 1000;
});

afterEach(() => {
  vi.restoreAllMocks();
  for (const each of tabs) {
    each.close();
  }
  tabs = [];
});

describe("conversations and turns", () => {
  it("are there on the next visit, the one changed last first", async () => {
    const database = await tab();
    await database.putConversation(conversation({ id: "old", updatedAt: 1 }));
    await database.putConversation(conversation({ id: "new", updatedAt: 2 }));
    await database.putTurn(turn({ id: "later", conversation: "new", createdAt: 2 }));
    await database.putTurn(turn({ id: "first", conversation: "new", createdAt: 1 }));
    const next = await reopened();
    expect(next.keeping.value).toBe("kept");
    expect((await next.conversations()).map(({ id }) => id)).toEqual(["new", "old"]);
    expect(await next.conversation("old")).toEqual(conversation({ id: "old", updatedAt: 1 }));
    expect(await next.turns("new")).toEqual([
      turn({ id: "first", conversation: "new", createdAt: 1 }),
      turn({ id: "later", conversation: "new", createdAt: 2 }),
    ]);
    expect(await next.turns("old")).toEqual([]);
  });

  it("go with their turns, and come back", async () => {
    const database = await tab();
    await database.putConversation(conversation());
    await database.putTurn(turn({ id: "question" }));
    const deleted = await database.deleteConversations(["c"]);
    expect(await database.conversations()).toEqual([]);
    expect(await database.allTurns()).toEqual([]);
    await database.restore(deleted);
    expect(await database.turns("c")).toEqual([turn({ id: "question" })]);
    await database.putTurn(turn({ id: "answer" }));
    expect(await database.turns("c")).toHaveLength(2);
  });

  it("keep what one tab changed when another changes something else", async () => {
    const here = await tab();
    const there = await tab();
    const heard: unknown[] = [];
    there.listen((change) => heard.push(change));
    await here.putConversation(conversation({ title: "Clouds", leaf: "a" }));
    await Promise.all([
      here.changeConversation("c", { leaf: "b", updatedAt: 9 }),
      there.changeConversation("c", { title: "Weather" }),
    ]);
    const changed = conversation({ title: "Weather", leaf: "b", updatedAt: 9 });
    expect(await here.conversations()).toEqual([changed]);
    heard.length = 0;
    await there.changeConversation("nobody", { title: "late" });
    expect(await here.conversations()).toEqual([changed]);
    expect(heard).toEqual([]);
  });

  it("are not brought back by an answer that still streams", async () => {
    const database = await tab();
    await database.putConversation(conversation());
    await database.deleteConversations(["c"]);
    await database.putTurn(turn({ id: "late", role: "assistant" }));
    await database.putConversation(conversation({ title: "late" }));
    expect(await database.conversations()).toEqual([]);
    expect(await database.allTurns()).toEqual([]);
  });

  it("lose single turns, and only their own", async () => {
    const database = await tab();
    await database.putTurn(turn({ id: "one" }));
    await database.putTurn(turn({ id: "two" }));
    await database.putTurn(turn({ id: "elsewhere", conversation: "other" }));
    await database.deleteTurns("c", ["one", "elsewhere"]);
    expect((await database.allTurns()).map(({ id }) => id)).toEqual(["elsewhere", "two"]);
  });

  it("are gone after a wipe", async () => {
    const database = await tab();
    await database.putConversation(conversation());
    await database.putTurn(turn({ id: "one" }));
    await database.putSetting("theme", "dark");
    await database.wipe();
    const next = await reopened();
    expect(await next.conversations()).toEqual([]);
    expect(await next.allTurns()).toEqual([]);
    expect(await next.setting("theme")).toBeUndefined();
  });

  it("swept: turns whose conversation is gone", async () => {
    const database = await tab();
    await database.putTurn(turn({ id: "orphan", conversation: "gone" }));
    const next = await reopened();
    await vi.waitFor(async () => {
      expect(await next.allTurns()).toEqual([]);
    });
  });
});

describe("files", () => {
  const file = { sha256: "f1", mediaType: "text/plain", blob: new Blob(["hello"]) };
  const passages = { sha256: "f1", model: "m", passages: [{ page: 1, text: "hello" }] };

  async function withFileInTwo(): Promise<Database> {
    const database = await tab();
    await database.putFile({ ...file, text: { pages: ["hello"] } });
    await database.putPassages({ ...passages, vectors: [Float32Array.of(1, 0)] });
    for (const id of ["c", "d"]) {
      await database.putConversation(conversation({ id }));
      const attachments = [documentOf("f1"), documentOf("f1")];
      await database.putTurn(turn({ id: `of ${id}`, conversation: id, attachments }));
    }
    return database;
  }

  it("stay for as long as a conversation has them, and come back with it", async () => {
    const database = await withFileInTwo();
    expect((await database.deleteConversations(["c"])).files).toEqual([]);
    expect(await (await database.file("f1"))?.blob.text()).toBe("hello");
    const deleted = await database.deleteConversations(["d"]);
    expect(await database.file("f1")).toBeUndefined();
    expect(await database.passages("f1", "m")).toBeUndefined();
    await database.restore(deleted);
    expect((await database.file("f1"))?.text).toEqual({ pages: ["hello"] });
    expect((await database.passages("f1", "m"))?.vectors).toEqual([Float32Array.of(1, 0)]);
  });

  it("stay when both conversations but one of a group go at once", async () => {
    const database = await withFileInTwo();
    const deleted = await database.deleteConversations(["c", "d", "never was"]);
    expect(deleted.conversations).toHaveLength(2);
    expect(deleted.files).toHaveLength(1);
    expect(await database.file("f1")).toBeUndefined();
  });

  it("of a draft stay when a conversation with the same file goes", async () => {
    const database = await withFileInTwo();
    await database.putFile(file);
    await database.deleteConversations(["c", "d"]);
    expect((await database.file("f1"))?.text).toEqual({ pages: ["hello"] });
    await database.releaseFile("f1");
    expect(await database.file("f1")).toBeUndefined();
  });

  it("that a draft let go of stay where a conversation has them", async () => {
    const database = await withFileInTwo();
    await database.releaseFile("f1");
    expect(await database.file("f1")).toBeDefined();
  });

  it("of a draft whose tab is gone are swept after a day, not before", async () => {
    await (await tab()).putFile(file);
    now += DAY;
    expect(await (await reopened()).file("f1")).toBeDefined();
    now += 1;
    const next = await reopened();
    await vi.waitFor(async () => {
      expect(await next.file("f1")).toBeUndefined();
    });
  });

  it("that went leave no passages", async () => {
    const database = await tab();
    await database.putPassages({ ...passages, vectors: [] });
    expect(await database.passages("f1", "m")).toBeUndefined();
  });
});

describe("presets, settings, MCP servers", () => {
  it("are kept", async () => {
    const database = await tab();
    const preset = { id: "p", name: "Poet", modelfile: "FROM x", updatedAt: 1 };
    await database.putPreset(preset);
    await database.putSetting("theme", { name: "dark" });
    const server = { id: "s", url: "https://example.org/mcp" };
    await database.putMcpServer(server);
    const next = await reopened();
    expect(await next.presets()).toEqual([preset]);
    expect(await next.setting("theme")).toEqual({ name: "dark" });
    expect(await next.setting("never chosen")).toBeUndefined();
    expect(await next.mcpServers()).toEqual([server]);
    await next.deletePreset("p");
    await next.deleteMcpServer("s");
    expect([...(await next.presets()), ...(await next.mcpServers())]).toEqual([]);
  });
});

describe("a browser that would not keep it", () => {
  it.each([
    ["full", "QuotaExceededError"],
    ["refused", "UnknownError"],
  ])("is %s: it is in memory, and is stored when there is room again", async (keeping, error) => {
    const database = await tab();
    await database.putConversation(conversation());
    await database.putTurn(turn({ id: "stored", text: "old" }));
    const refusal = refuseWrites(error);
    await database.putTurn(turn({ id: "stored", text: "new" }));
    await database.putTurn(turn({ id: "unstored" }));
    expect(database.keeping.value).toBe(keeping);
    expect((await database.turns("c")).map(({ id, text }) => [id, text])).toEqual([
      ["stored", "new"],
      ["unstored", ""],
    ]);
    refusal.mockRestore();
    await database.putConversation(conversation({ title: "again" }));
    await vi.waitFor(() => {
      expect(database.keeping.value).toBe("kept");
    });
    const next = await reopened();
    expect((await next.turns("c")).map(({ text }) => text)).toEqual(["new", ""]);
  });

  it("deletes what it could not keep, and then there is room", async () => {
    const database = await tab();
    await database.putConversation(conversation());
    const refusal = refuseWrites("QuotaExceededError");
    await database.putTurn(turn({ id: "unstored", attachments: [documentOf("f1")] }));
    await database.deleteConversations(["c"]);
    refusal.mockRestore();
    expect(await database.allTurns()).toEqual([]);
    await database.putSetting("theme", "dark");
    await vi.waitFor(() => {
      expect(database.keeping.value).toBe("kept");
    });
    expect(await (await reopened()).allTurns()).toEqual([]);
  });

  it("has no database at all: the visit goes on in memory", async () => {
    vi.spyOn(indexedDB, "open").mockImplementation(() => {
      throw new DOMException("", "SecurityError");
    });
    const database = await tab();
    expect(database.keeping.value).toBe("refused");
    await database.putConversation(conversation());
    await database.putFile({ sha256: "f1", mediaType: "", blob: new Blob(["a"]) });
    await database.putTurn(turn({ id: "one", attachments: [documentOf("f1")] }));
    expect(await database.turns("c")).toHaveLength(1);
    await database.restore(await database.deleteConversations(["c"]));
    expect(await database.file("f1")).toBeDefined();
    await database.wipe();
    expect(await database.conversations()).toEqual([]);
  });

  it("never answers: the visit begins after 5 s all the same", async () => {
    vi.useFakeTimers();
    vi.spyOn(indexedDB, "open").mockImplementation(() => new EventTarget() as IDBOpenDBRequest);
    const opening = tab();
    await vi.advanceTimersByTimeAsync(5000);
    expect((await opening).keeping.value).toBe("refused");
    vi.useRealTimers();
  });

  it("tells of mistakes of ours", async () => {
    const database = await tab();
    await expect(database.putSetting("function", () => 1)).rejects.toThrow("clone");
    expect(database.keeping.value).toBe("kept");
  });
});

describe("versions in other tabs", () => {
  it("a newer one that is there already: nothing is read or kept", async () => {
    (await openDB(DATABASE_NAME, 2)).close();
    expect((await tab()).keeping.value).toBe("outdated");
  });

  it("a newer one that comes: it gets the database, and we say so", async () => {
    const database = await tab();
    await database.putConversation(conversation());
    const newer = await openDB(DATABASE_NAME, 2);
    expect(database.keeping.value).toBe("outdated");
    await database.putTurn(turn({ id: "running" }));
    await expect(database.conversations()).rejects.toThrow("Reload this page");
    newer.close();
  });

  it("an older one that stays: we wait in memory, and store when it goes", async () => {
    const older = await openDB(DATABASE_NAME, 2);
    const open = indexedDB.open.bind(indexedDB);
    vi.spyOn(indexedDB, "open").mockImplementation((name) => open(name, 3));
    const database = await tab();
    expect(database.keeping.value).toBe("blocked");
    await database.putSetting("theme", "dark");
    const changes: Change[] = [];
    database.listen((change) => changes.push(change));
    older.close();
    await vi.waitFor(() => {
      expect(changes).toContainEqual({ kind: "everything" });
    });
    expect(database.keeping.value).toBe("kept");
    expect(await (await reopened()).setting("theme")).toBe("dark");
  });
});

describe("other tabs", () => {
  it("hear what changed, and that it was not them", async () => {
    const here = await tab();
    const there = await tab();
    const heard: [Change, boolean][] = [];
    there.listen((change, isOurs) => heard.push([change, isOurs]));
    await here.putConversation(conversation());
    await there.putTurn(turn({ id: "one" }));
    await vi.waitFor(() => {
      expect(heard).toContainEqual([{ kind: "conversation", id: "c" }, false]);
    });
    expect(heard).toContainEqual([{ kind: "turns", conversation: "c" }, true]);
  });

  it("do not bring back what was deleted here", async () => {
    const here = await tab();
    const there = await tab();
    await here.putConversation(conversation());
    await here.deleteConversations(["c"]);
    await vi.waitFor(async () => {
      await there.putTurn(turn({ id: "late" }));
      const late = await there.allTurns();
      await there.deleteTurns("c", ["late"]);
      expect(late).toEqual([]);
    });
  });
});

describe("an import", () => {
  const bundle = {
    conversations: [conversation()],
    turns: [turn({ id: "one", attachments: [documentOf("f1")] })],
    files: [{ sha256: "f1", mediaType: "text/plain", blob: new Blob(["hello"]) }],
    presets: [],
  };

  it("is kept, and goes with its conversation", async () => {
    const database = await tab();
    await database.importAll(bundle);
    expect(await database.turns("c")).toEqual(bundle.turns);
    await database.deleteConversations(["c"]);
    expect(await database.file("f1")).toBeUndefined();
  });

  it("leaves nothing where there is no room for all of it", async () => {
    const database = await tab();
    // Asked of the files, when conversations and turns are written already.
    vi.spyOn(IDBObjectStore.prototype, "get").mockImplementation(() => {
      throw new DOMException("", "QuotaExceededError");
    });
    await expect(database.importAll(bundle)).rejects.toThrow("nothing of it is kept");
    expect(await database.conversations()).toEqual([]);
    expect(await database.allTurns()).toEqual([]);
  });
});
