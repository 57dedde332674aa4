import { createHash } from "node:crypto";

import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { type Database, openDatabase } from "../../../web/src/chat/database.ts";
import { Library } from "../../../web/src/page/sidebar/library.ts";
import { conversation, documentOf, turn } from "./conversations.ts";

const HELLO_SHA256 = createHash("sha256").update("hello").digest("hex");

let database: Database;
let library: Library;
let saved: { name: string; blob: Blob }[] = [];
let deleted: string[] = [];

/** As the page would give it to `importFile`. */
async function savedFile(): Promise<File> {
  const last = saved.at(-1);
  return new File([await (last?.blob.arrayBuffer() ?? "")], last?.name ?? "");
}

beforeEach(async () => {
  globalThis.indexedDB = new IDBFactory();
  saved = [];
  deleted = [];
  database = await openDatabase();
  library = new Library({
    database: Promise.resolve(database),
    change: (id) => id === "shown",
    onDelete: (id) => deleted.push(id),
    save: (name, blob) => saved.push({ name, blob }),
    now: () => Date.UTC(2026, 10, 22),
  });
  await database.putConversation(conversation({ title: "Alps", leaf: "q" }));
  await database.putFile({
    sha256: HELLO_SHA256,
    mediaType: "text/plain",
    blob: new Blob(["hello"], { type: "text/plain" }),
  });
  await database.putTurn(
    turn({ id: "q", text: "Which boots?", attachments: [documentOf(HELLO_SHA256)] }),
  );
  await database.putPreset({ id: "p", name: "Poet", modelfile: "FROM x", updatedAt: 1 });
});

afterEach(() => {
  database.close();
});

describe("changing", () => {
  it("names and pins what the chat does not hold", async () => {
    library.rename("c", "Andes");
    await vi.waitFor(async () => {
      expect((await database.conversation("c"))?.title).toBe("Andes");
    });
    library.pin("c", true);
    await vi.waitFor(async () => {
      expect(await database.conversation("c")).toMatchObject({ title: "Andes", isPinned: true });
    });
  });

  it("leaves it to the chat where that holds it, and makes nothing up", async () => {
    await database.putConversation(conversation({ id: "shown", title: "Shown" }));
    library.rename("shown", "Other");
    library.rename("gone", "Other");
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect((await database.conversation("shown"))?.title).toBe("Shown");
    expect(await database.conversation("gone")).toBeUndefined();
  });

  it("deletes and brings back, with files", async () => {
    const restore = await library.remove("c");
    expect(deleted).toEqual(["c"]);
    expect(await database.conversations()).toEqual([]);
    await restore();
    expect(await database.turns("c")).toHaveLength(1);
    expect(await (await database.file(HELLO_SHA256))?.blob.text()).toBe("hello");
  });
});

describe("searching", () => {
  it("finds what was there, what came, and not what went", async () => {
    expect(await library.search("boots")).toMatchObject([{ conversation: "c", turn: "q" }]);
    await database.putTurn(turn({ id: "a", parent: "q", text: "Leather ones.", createdAt: 1 }));
    expect(await library.search("leather")).toMatchObject([{ turn: "a" }]);
    const restore = await library.remove("c");
    expect(await library.search("boots")).toEqual([]);
    await restore();
    expect(await library.search("boots")).toHaveLength(1);
    await database.wipe();
    await vi.waitFor(async () => {
      expect(await library.search("boots")).toEqual([]);
    });
  });
});

describe("saving and loading", () => {
  it("saves all, and after a wipe all of it comes back equal", async () => {
    const read = async () => ({
      conversations: await database.conversations(),
      turns: await database.allTurns(),
      presets: await database.presets(),
      file: await (await database.file(HELLO_SHA256))?.blob.text(),
    });
    const before = await read();
    await library.exportJson(null);
    expect(saved[0]?.name).toBe("Transom 2026-11-22.json");
    await database.wipe();
    expect((await read()).file).toBeUndefined();
    expect(await library.importFile(await savedFile())).toEqual({ added: 1, known: 0 });
    expect(await read()).toEqual(before);
    expect(await library.importFile(await savedFile())).toEqual({ added: 0, known: 1 });
    expect(await read()).toEqual(before);
  });

  it("saves one, without presets", async () => {
    await library.exportJson("c");
    expect(saved[0]?.name).toBe("Alps.json");
    const file = JSON.parse(await (await savedFile()).text()) as Record<string, unknown[]>;
    expect(file["presets"]).toEqual([]);
    expect(file["files"]).toHaveLength(1);
  });

  it("saves one for reading", async () => {
    await library.exportMarkdown("c");
    expect(saved[0]?.name).toBe("Alps.md");
    expect(await saved[0]?.blob.text()).toBe(
      "# Alps\n\n## You\n\nAttached:\n\n- notes.txt\n\nWhich boots?\n",
    );
  });

  it("loads nothing of a file that is wrong", async () => {
    await database.wipe();
    await expect(library.importFile(new File(["{}"], "x.json"))).rejects.toThrow(
      "holds no conversations of this app",
    );
    expect(await database.conversations()).toEqual([]);
  });
});
