import "fake-indexeddb/auto";
import { IDBFactory } from "fake-indexeddb";
import { describe, expect, it } from "vitest";

import { openDatabase } from "../../../web/src/chat/database.ts";
import {
  type Exported,
  fileConversation,
  fileNameOf,
  toJson,
  toMarkdown,
} from "../../../web/src/chat/export.ts";
import { type Existing, planImport, readConversationsFile } from "../../../web/src/chat/import.ts";
import type { ReadConversation } from "../../../web/src/chat/keeper.ts";
import { conversation, documentOf, turn } from "./conversations.ts";
import { anyConversations, sha256 } from "./any-conversations.ts";
import { randomNumbers } from "../random-numbers.ts";

const NOTHING: Existing = { conversations: new Map(), turns: new Set(), presets: new Map() };
const HELLO = new TextEncoder().encode("hello");
const HELLO_SHA256 = sha256(HELLO);
const FILE = { sha256: HELLO_SHA256, mediaType: "text/plain", base64: "aGVsbG8=" };
const PRESET = { id: "p", name: "Poet", modelfile: "FROM x", updatedAt: 1 };

function small(): Exported {
  const about = conversation({ title: "Small", leaf: "a", preset: "p" });
  const turns = [
    turn({ id: "q", attachments: [documentOf(HELLO_SHA256)] }),
    turn({ id: "a", parent: "q", role: "assistant", text: "Hi" }),
  ];
  return {
    conversations: [{ conversation: about, turns }],
    files: [{ sha256: HELLO_SHA256, mediaType: "text/plain", bytes: HELLO }],
    presets: [PRESET],
  };
}

function fileOf(exported: Exported): Blob {
  return new Blob([...toJson(exported, 0)]);
}

/** The smallest honest file with a lie in it, at a path like "conversations.0.turns.0.role". */
async function withLie(path: string, lie: unknown): Promise<Blob> {
  const file: unknown = JSON.parse(await fileOf(small()).text());
  const steps = path.split(".");
  const last = steps.pop() ?? "";
  const target = steps.reduce<unknown>((inner, step) => Reflect.get(inner as object, step), file);
  if (lie === undefined) {
    Reflect.deleteProperty(target as object, last);
  } else {
    // Not by assignment: a field may be called __proto__.
    const field = { value: lie, enumerable: true, configurable: true, writable: true };
    Object.defineProperty(target, last, field);
  }
  return new Blob([JSON.stringify(file)]);
}

function existing(...found: ReadConversation[]): Existing {
  return {
    conversations: new Map(found.map((each) => [each.conversation.id, each])),
    turns: new Set(found.flatMap(({ turns }) => turns.map(({ id }) => id))),
    presets: new Map(),
  };
}

describe("out and in again", () => {
  it("is the same, for any conversations", async () => {
    const random = randomNumbers(20261122);
    for (let round = 0; round < 20; round++) {
      const exported = anyConversations(random);
      const imported = await readConversationsFile(fileOf(exported));
      const { bundle, added } = planImport(imported, NOTHING);
      expect(added).toBe(exported.conversations.length);
      expect(bundle.conversations).toEqual(exported.conversations.map((each) => each.conversation));
      expect(bundle.turns).toEqual(exported.conversations.flatMap(({ turns }) => turns));
      expect(bundle.presets).toEqual(exported.presets);
      for (const [index, { blob }] of bundle.files.entries()) {
        expect(sha256(new Uint8Array(await blob.arrayBuffer()))).toBe(
          exported.files[index]?.sha256,
        );
      }
    }
  });

  it("is the same in the database, after a wipe", async () => {
    globalThis.indexedDB = new IDBFactory();
    const database = await openDatabase();
    const before = planImport(await readConversationsFile(fileOf(small())), NOTHING).bundle;
    await database.importAll(before);
    const read = async () => ({
      conversations: await database.conversations(),
      turns: await database.allTurns(),
      presets: await database.presets(),
      text: await (await database.file(HELLO_SHA256))?.blob.text(),
    });
    const kept = await read();
    await database.wipe();
    expect(await read()).toEqual({ conversations: [], turns: [], presets: [] });
    await database.importAll(before);
    expect(await read()).toEqual(kept);
    expect(kept.text).toBe("hello");
    database.close();
  });

  it("says of an answer that streams that it was interrupted", async () => {
    const turns = [turn({ id: "a", role: "assistant", state: "streaming" })];
    const file = fileOf({
      conversations: [{ conversation: conversation(), turns }],
      files: [],
      presets: [],
    });
    const { bundle } = planImport(await readConversationsFile(file), NOTHING);
    expect(bundle.turns).toMatchObject([{ state: "interrupted" }]);
  });
});

describe("what is here already", () => {
  it("is left out where it is the same, whatever the order of its turns", async () => {
    const imported = await readConversationsFile(fileOf(small()));
    const turned = small().conversations.map((here) => ({
      ...here,
      turns: [...here.turns].reverse(),
    }));
    const plan = planImport(imported, {
      ...existing(...turned),
      presets: new Map(small().presets.map((preset) => [preset.id, preset])),
    });
    expect(plan).toMatchObject({ added: 0, known: 1 });
    expect(plan.bundle.presets).toEqual([]);
  });

  it("stays, and what has its id gets fresh ones", async () => {
    const imported = await readConversationsFile(fileOf(small()));
    let fresh = 0;
    const plan = planImport(
      imported,
      {
        ...existing({ conversation: conversation({ title: "Other" }), turns: [turn({ id: "q" })] }),
        presets: new Map([["p", { id: "p", name: "Other", modelfile: "", updatedAt: 0 }]]),
      },
      () => `fresh ${++fresh}`,
    );
    expect(plan).toMatchObject({ added: 1, known: 0 });
    expect(plan.bundle.presets).toMatchObject([{ id: "fresh 1", name: "Poet" }]);
    expect(plan.bundle.conversations).toMatchObject([
      { id: "fresh 2", title: "Small", leaf: "fresh 4", preset: "fresh 1" },
    ]);
    expect(plan.bundle.turns).toMatchObject([
      { id: "fresh 3", parent: null, conversation: "fresh 2" },
      { id: "fresh 4", parent: "fresh 3", conversation: "fresh 2" },
    ]);
  });

  it("never loses its turns to a conversation of another id", async () => {
    const imported = await readConversationsFile(fileOf(small()));
    const other = { conversation: conversation({ id: "other" }), turns: [turn({ id: "a" })] };
    const { bundle } = planImport(imported, existing(other));
    expect(bundle.conversations).toMatchObject([{ id: "c" }]);
    expect(bundle.turns.map(({ id }) => id)).not.toContain("a");
    expect(bundle.conversations[0]?.leaf).toBe(bundle.turns[1]?.id);
  });
});

it("reads files of version 1, which leave out what came later", async () => {
  const old = await withLie("version", 1);
  expect((await readConversationsFile(old)).conversations).toHaveLength(1);
});

describe("a file that is wrong", () => {
  it("is right before anything is wrong with it", async () => {
    await expect(readConversationsFile(fileOf(small()))).resolves.toBeDefined();
  });

  const FIRST = "conversations.0";
  const TURN = `${FIRST}.turns.0`;
  it.each<[string, string, unknown, string]>([
    ["of another app", "format", "chat", 'not "transom-conversations"'],
    ["of the future", "version", 3, "version is not 2"],
    ["of the past", "version", 0, "version is not 2"],
    ["without presets", "presets", undefined, "presets is missing"],
    ["with more than we know", "sync", true, "sync is not known"],
    ["no list", "conversations", {}, "conversations is no list"],
    ["null", FIRST, null, "conversations[0] is no object"],
    ["a title of a number", `${FIRST}.title`, 5, "conversations[0].title is no text"],
    ["a long title", `${FIRST}.title`, "x".repeat(4097), "has 4097 characters"],
    ["a year without end", `${FIRST}.updatedAt`, 9e15, "conversations[0].updatedAt is no whole"],
    ["half a millisecond", `${FIRST}.createdAt`, 0.5, "conversations[0].createdAt is no whole"],
    ["another policy", `${FIRST}.overflow`, "drop", "overflow is none of ask, drop-oldest"],
    ["an unknown parameter", `${FIRST}.parameters.mirostat`, 1, "parameters.mirostat is not known"],
    ["a parameter of text", `${FIRST}.parameters.top_k`, "1", "parameters.top_k is no number"],
    ["a prototype", `${FIRST}.parameters.__proto__`, 1, "parameters.__proto__ is not known"],
    ["a leaf that is gone", `${FIRST}.leaf`, "gone", "leaf is no turn"],
    ["an empty id", `${FIRST}.id`, "", "conversations[0].id is empty"],
    ["another role", `${TURN}.role`, "system", "turns[0].role is none of"],
    ["a turn that streams", `${TURN}.state`, "streaming", "turns[0].state is none of"],
    ["a parent that is gone", `${TURN}.parent`, "gone", "turns[0].parent is no turn"],
    ["a circle", `${TURN}.parent`, "a", "turns[0].parent leads round"],
    ["itself", `${TURN}.parent`, "q", "turns[0].parent leads round"],
    ["the same id twice", `${TURN}.id`, "a", "turns[1].id is there twice"],
    ["another attachment", `${TURN}.attachments.0.kind`, "video", "attachments[0].kind is none of"],
    ["no prototype's kind", `${TURN}.attachments.0.kind`, "toString", "[0].kind is none of"],
    [
      "a digest in capitals",
      `${TURN}.attachments.0.sha256`,
      "A".repeat(64),
      "sha256 is no SHA-256",
    ],
    ["a wrong length", `${TURN}.attachments.0.bytes`, 6, "files[0].base64 is not the file"],
    ["a file of nobody", `${TURN}.attachments`, [], "files[0].sha256 is there twice, or"],
    ["a file twice", "files.1", FILE, "files[1].sha256 is there twice"],
    ["another file", "files.0.base64", "aGFsbG8=", "files[0].base64 is not the file"],
    ["no base64", "files.0.base64", "*", "files[0].base64 is no base64"],
    ["a type of two lines", "files.0.mediaType", "text/plain\nx", "mediaType is no media type"],
    [
      "a length of thought that is none",
      "conversations.0.turns.1.reasoningSeconds",
      "3",
      "reasoningSeconds is no number",
    ],
    [
      "a code that nobody knows",
      "conversations.0.turns.1.errorCode",
      "constructor",
      "errorCode is none of",
    ],
    ["a preset twice", "presets.1", PRESET, "presets[1].id is there twice"],
  ])("%s", async (_name, path, lie, problem) => {
    await expect(readConversationsFile(await withLie(path, lie))).rejects.toThrow(problem);
  });

  it.each([
    ["nothing", ""],
    ["half", '{"format":'],
    ["not in UTF-8", new Uint8Array([0x22, 0xff, 0x22])],
  ])("is no JSON: %s", async (_name, bytes) => {
    await expect(readConversationsFile(new Blob([bytes]))).rejects.toThrow("no JSON in UTF-8");
  });

  it("is too large to be read at all", async () => {
    const large = { size: 256 * 1024 * 1024 + 1 } as Blob;
    await expect(readConversationsFile(large)).rejects.toThrow("larger than 256 MiB");
  });

  it("names a deep chain's end, however long it is", async () => {
    const { turns } = fileConversation({
      conversation: conversation(),
      turns: [turn({ id: "a" })],
    });
    const chain = Array.from({ length: 50_000 }, (_, index) => ({
      ...turns[0],
      id: index === 0 ? "a" : `t${index}`,
      parent: `t${index + 1}`,
    }));
    const file = await withLie(`${FIRST}.turns`, chain);
    await expect(readConversationsFile(file)).rejects.toThrow("turns[0].parent is no turn");
  });
});

describe("Markdown", () => {
  const said = {
    untitled: "Conversation",
    you: "You",
    model: "Model",
    system: "System prompt",
    reasoning: "Thinking",
    attachments: "Attached",
    sources: "Sources",
    page: (number: number) => `page ${number}`,
    calls: (tool: string) => `Calls ${tool}`,
    returned: (tool: string) => `${tool} returned`,
    unfinished: "Unfinished",
  };

  it("shows the branch that shows, with all that belongs to it", () => {
    const about = conversation({
      title: "A *title*\n# two",
      leaf: "r",
      model: "tiny",
      system: "Rhyme.",
    });
    const turns = [
      turn({ id: "q", text: "Sum?", attachments: [documentOf("f", { name: "a_b.txt" })] }),
      turn({ id: "other", parent: "q", role: "assistant", text: "not this" }),
      turn({
        id: "a",
        parent: "q",
        role: "assistant",
        text: "Let me see. ",
        reasoning: "Two\nlines",
        calls: [{ id: "1", name: "calculator", arguments: '{"a":"```"}' }],
        sources: [{ attachment: "f", name: "a_b.txt", page: 3, text: "", score: 1 }],
      }),
      turn({
        id: "r",
        parent: "a",
        role: "tool",
        result: {
          callId: "1",
          name: "calculator",
          isError: false,
          text: "4",
          views: [{ kind: "image", mediaType: "image/png", base64: "AAAA" }],
        },
      }),
    ];
    expect(toMarkdown({ conversation: about, turns }, said)).toBe(`# A \\*title\\* \\# two

## System prompt

Rhyme.

## You

Attached:

- a\\_b.txt

Sum?

## tiny

Thinking:

> Two
> lines

Let me see.

**Calls calculator**

\`\`\`\`json
{"a":"\`\`\`"}
\`\`\`\`

Sources:

1. a\\_b.txt, page 3

**calculator returned**

\`\`\`
4
\`\`\`

![](data:image/png;base64,AAAA)
`);
  });

  it("says what was not finished and what went wrong", () => {
    const turns = [
      turn({ id: "s", role: "assistant", state: "stopped", text: "Half" }),
      turn({ id: "f", parent: "s", role: "assistant", state: "failed", error: "No room." }),
    ];
    const text = toMarkdown({ conversation: conversation({ leaf: "f" }), turns }, said);
    expect(text).toBe(
      "# Conversation\n\n## Model\n\nHalf\n\n*Unfinished*\n\n## Model\n\n*No room.*\n",
    );
  });
});

describe("names of files", () => {
  it.each([
    ["Trip to Rome", "Trip to Rome.md"],
    ["../../etc/passwd", "etc passwd.md"],
    ['a<b>:"/\\|?*c', "a b c.md"],
    ["", "transom.md"],
    ["...", "transom.md"],
    ["😀".repeat(99), `${"😀".repeat(60)}.md`],
  ])("%j is saved as %j", (title, name) => {
    expect(fileNameOf(title, "md")).toBe(name);
  });
});
