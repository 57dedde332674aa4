/**
 * Exports of other apps. All samples here are made by hand, after the descriptions that
 * `foreign-export.ts` names; none is anybody's conversation.
 */
import { expect, describe, it } from "vitest";

import { planImport, readConversationsFile } from "../../../web/src/chat/import.ts";
import { branchTo, treeOf } from "../../../web/src/chat/tree.ts";
import type { Turn } from "../../../web/src/chat/types.ts";

const read = (value: unknown) => readConversationsFile(new Blob([JSON.stringify(value)]));

async function only(value: unknown) {
  const { conversations } = await read(value);
  expect(conversations).toHaveLength(1);
  const [found] = conversations;
  if (found === undefined) {
    throw new Error("none");
  }
  const turns = found.turns.map((turn): Turn => ({ ...turn, conversation: found.id }));
  const branch = branchTo(treeOf(turns), found.leaf);
  return { found, shown: branch.map(({ role, text }) => `${role}: ${text}`), branch };
}

const node = (id: string, parent: string | null, message: object | null = null) => ({
  [id]: { id, parent, children: [], message },
});
const message = (role: string, text: string, more: object = {}) => ({
  author: { role },
  create_time: 1_700_000_000.25,
  content: { content_type: "text", parts: [text] },
  recipient: "all",
  metadata: {},
  ...more,
});

/** By hand: a root, a hidden system message, a question in two versions, a thought and a tool's call. */
const CHATGPT = [
  {
    id: "conv-1",
    title: "Windows",
    create_time: 1_700_000_000,
    update_time: 1_700_000_100.5,
    current_node: "a2",
    mapping: {
      ...node("root", null),
      ...node("s", "root", message("system", "Be brief.")),
      ...node("q1", "s", message("user", "Why glass?")),
      ...node("a1", "q1", message("assistant", "It is clear.")),
      ...node("q2", "s", message("user", "Why a fanlight?")),
      ...node(
        "t",
        "q2",
        message("assistant", "", {
          content: {
            content_type: "thoughts",
            thoughts: [{ summary: "x", content: "Over doors." }],
          },
        }),
      ),
      ...node("c", "t", message("assistant", "search(fanlight)", { recipient: "browser" })),
      ...node("r", "c", message("tool", "a page")),
      ...node("a2", "r", message("assistant", "For light.")),
    },
  },
];

/** By hand: two answers to one question, the first with its thought folded into it. */
const OPEN_WEBUI = [
  {
    id: "chat-1",
    user_id: "u",
    title: "Doors",
    created_at: 1_700_000_000,
    updated_at: 1_700_000_100,
    pinned: true,
    chat: {
      title: "Doors",
      models: ["llama3"],
      history: {
        currentId: "b",
        messages: {
          q: { id: "q", parentId: null, childrenIds: ["a", "b"], role: "user", content: "Open?" },
          a: {
            id: "a",
            parentId: "q",
            childrenIds: [],
            role: "assistant",
            timestamp: 1_700_000_001,
            content:
              '<details type="reasoning" done="true" duration="3">\n<summary>Thought for 3 seconds</summary>\n> Look.\n> It is.\n</details>\nYes.',
          },
          b: { id: "b", parentId: "q", childrenIds: [], role: "assistant", content: "No." },
        },
      },
      messages: [],
    },
  },
];

describe("ChatGPT's conversations.json", () => {
  it("keeps branches, times, system message and what showed last", async () => {
    const { found, shown } = await only(CHATGPT);
    expect(found).toMatchObject({
      id: "conv-1",
      title: "Windows",
      system: "Be brief.",
      createdAt: 1_700_000_000_000,
      updatedAt: 1_700_000_100_500,
      leaf: "a2",
    });
    expect(shown).toEqual(["user: Why a fanlight?", "assistant: For light."]);
    expect(found.turns.map(({ id, parent }) => [id, parent])).toEqual([
      ["q1", null],
      ["a1", "q1"],
      ["q2", null],
      ["a2", "q2"],
    ]);
    expect(found.turns[0]?.createdAt).toBe(1_700_000_000_250);
  });

  it("puts thoughts with the answer below them", async () => {
    const { branch } = await only(CHATGPT);
    expect(branch.at(-1)?.reasoning).toBe("Over doors.");
  });

  it("is known when it comes again", async () => {
    const imported = await read(CHATGPT);
    const nothing = { conversations: new Map(), turns: new Set<string>(), presets: new Map() };
    const { bundle } = planImport(imported, nothing);
    const [conversation] = bundle.conversations;
    const here = new Map(
      conversation === undefined ? [] : [["conv-1", { conversation, turns: bundle.turns }]],
    );
    const again = planImport(await read(CHATGPT), { ...nothing, conversations: here });
    expect([again.added, again.known]).toEqual([0, 1]);
  });

  it("refuses a circle, also among messages that are no turns", async () => {
    const mapping = {
      ...node("x", "y"),
      ...node("y", "x"),
      ...node("q", "x", message("user", "Hm?")),
    };
    await expect(read([{ mapping }])).rejects.toThrow(
      "[0] has messages that lead round in a circle.",
    );
    const turns = {
      ...node("a", "b", message("user", "1")),
      ...node("b", "a", message("user", "2")),
    };
    await expect(read([{ mapping: turns }])).rejects.toThrow("leads round in a circle");
  });

  it("refuses a small file that says one thought a thousand times", async () => {
    const thought = "m".repeat(400_000);
    const content = { content_type: "thoughts", thoughts: [{ content: thought }] };
    const answers = (count: number) =>
      Object.assign(
        node("t", null, message("assistant", "", { content })),
        ...Array.from({ length: count }, (_, index) =>
          node(`a${index}`, "t", message("assistant", "Hi")),
        ),
      ) as object;
    await expect(read([{ mapping: answers(1000) }])).rejects.toThrow("repeats its thoughts");
    expect((await only([{ mapping: answers(1) }])).branch[0]?.reasoning).toBe(thought);
  });
});

describe("Open WebUI's export", () => {
  it("keeps versions, times, pins and what showed last", async () => {
    const { found, shown } = await only(OPEN_WEBUI);
    expect(found).toMatchObject({ id: "chat-1", title: "Doors", isPinned: true, leaf: "b" });
    expect(shown).toEqual(["user: Open?", "assistant: No."]);
    expect(found.turns).toMatchObject([
      { id: "q", parent: null },
      {
        id: "a",
        parent: "q",
        text: "Yes.",
        reasoning: "Look.\nIt is.",
        reasoningSeconds: 3,
        createdAt: 1_700_000_001_000,
      },
      { id: "b", parent: "q" },
    ]);
  });

  it.each([
    [
      "thoughts on both sides of a call",
      '<details type="reasoning" done="true" duration="2">\n<summary>Thought for 2 seconds</summary>\n&gt; Is 1 &lt; 2? &amp;amp;\n&gt; &quot;It&#x27;s&quot;\n</details>\nLet me see.\n<details type="tool_calls" done="true" id="1" name="sum" arguments="{&quot;a&quot;: 1}" result="&quot;&gt;&quot;">\n<summary>Tool Executed</summary>\n</details>\n<details type="reasoning" done="true" duration="1">\n<summary>Thought for 1 seconds</summary>\n&gt; Yes.\n</details>\nIt is.',
      "Let me see.\n\nIt is.",
      'Is 1 < 2? &amp;\n"It\'s"\n\nYes.',
      3,
    ],
    [
      "a thought that has not ended",
      '<details type="reasoning" done="false">\n<summary>Thinking…</summary>\n&gt; Hm\n</details>',
      "",
      "Hm",
      undefined,
    ],
    ["a fold of the answer's own", "<details>\nMore\n</details>", undefined, "", undefined],
    ["a fold that never ends", '<details type="reasoning">\n> a', undefined, "", undefined],
  ])("reads %s", async (_, content, text, reasoning, seconds) => {
    const messages = { a: { parentId: null, role: "assistant", content } };
    const { found } = await only([{ chat: { history: { messages, currentId: "a" } } }]);
    const [turn] = found.turns;
    expect(turn?.text).toBe(text ?? content);
    expect(turn?.reasoning).toBe(reasoning);
    expect(turn?.reasoningSeconds).toBe(seconds);
  });

  it("takes the chat's own system prompt before that of all chats", async () => {
    const messages = [{ role: "user", content: "One?" }];
    const chat = { messages, system: "For all.", params: { system: "For this." } };
    expect((await only({ chat })).found.system).toBe("For this.");
    expect((await only({ chat: { ...chat, params: {} } })).found.system).toBe("For all.");
  });

  it("reads the branch alone of its first versions, and a single chat", async () => {
    const messages = [
      { role: "user", content: "One?" },
      { role: "assistant", content: "Two." },
    ];
    const { shown } = await only({ id: "x", chat: { title: "Old", messages } });
    expect(shown).toEqual(["user: One?", "assistant: Two."]);
  });
});

describe("what is neither", () => {
  it.each([
    ["a list of something else", [{ name: "x" }]],
    ["a list of nothing", []],
    ["both at once", [...CHATGPT, ...OPEN_WEBUI]],
    ["a field that is inherited", [{ mapping: null }]],
  ])("is refused with the apps' names: %s", async (_, value) => {
    await expect(read(value)).rejects.toThrow("none that ChatGPT or Open WebUI exported");
  });

  it("keeps the caps of our own files", async () => {
    const mapping = node("q", null, message("user", "?"));
    const rows = (count: number) => Array.from({ length: count }, () => ({ mapping }));
    await expect(read(rows(20_001))).rejects.toThrow("20000 are the most");
    const long = { id: "i".repeat(129), mapping };
    await expect(read([long])).rejects.toThrow("128 are the most");
  });
});
