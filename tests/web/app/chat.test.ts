import { describe, expect, it } from "vitest";

import type { ChatOptions, ChatStore } from "../../../web/src/chat/chat-options.ts";
import { Chat } from "../../../web/src/chat/chat.ts";
import type { Conversation, Turn } from "../../../web/src/chat/types.ts";
import { ApiClient } from "../../../web/src/client/api-client.ts";
import { chatEvents, FakeApi, json, stream } from "../fake-api.ts";

/** Keeps everything, and says what was asked of it. */
class FakeStore implements ChatStore {
  readonly conversations = new Map<string, Conversation>();
  readonly turns = new Map<string, Turn>();
  readonly calls: string[] = [];

  read = (id: string) => {
    const conversation = this.conversations.get(id);
    const turns = [...this.turns.values()].filter((turn) => turn.conversation === id);
    return Promise.resolve(conversation === undefined ? null : { conversation, turns });
  };
  keepConversation = (conversation: Conversation) => {
    this.conversations.set(conversation.id, conversation);
  };
  changeConversation = (id: string, about: Partial<Conversation>) => {
    const conversation = this.conversations.get(id);
    if (conversation !== undefined) {
      this.conversations.set(id, { ...conversation, ...about });
    }
  };
  keepTurn = (turn: Turn) => {
    this.turns.set(turn.id, turn);
  };
  begin = () => {
    this.calls.push("begin");
  };
  end = () => {
    this.calls.push("end");
  };
}

function open(answers: ConstructorParameters<typeof FakeApi>, options: Partial<ChatOptions> = {}) {
  const api = new FakeApi(...answers);
  const store = new FakeStore();
  const chat = new Chat({
    client: new ApiClient("https://host/", api.fetch),
    store,
    tools: {
      tools: [],
      definitions: () => [],
      run: ({ id, name, arguments: text }) =>
        Promise.resolve({ callId: id, name, isError: false, text: `ran ${text}`, views: [] }),
    },
    approve: () => Promise.resolve("no"),
    retrieval: { retrieve: () => Promise.resolve([]) },
    readImage: () => Promise.resolve(null),
    contextOf: (sources) => sources.map(({ text }) => text).join(),
    titleOf: (text) => text,
    partner: () => ({ model: "tiny", contextWindowSize: 1000 }),
    schedule: (callback) => {
      callback();
    },
    ...options,
  });
  return { api, chat, store, sent: (at = -1) => api.requests.at(at)?.body };
}

const say = (...texts: string[]) => stream(chatEvents(texts));
const ask = (chat: Chat, text: string) => chat.ask({ text, attachments: [] });
const shown = (chat: Chat) => chat.branch.value.map(({ role, text }) => `${role}: ${text}`);

const tooLong = json(400, {
  error: { message: "too long", code: "context_length_exceeded" },
});

describe("Chat", () => {
  it("gathers pieces, keeps turns, and counts", async () => {
    const { chat, store } = open([say("Hel", "lo")]);
    const texts: string[] = [];
    chat.live.subscribe((turn) => {
      if (turn !== null) {
        texts.push(turn.text);
      }
    });
    const report = await ask(chat, "Hi");
    expect(report).toMatchObject({
      text: "Hello",
      tokenIds: [],
      finishReason: "stop",
      promptTokens: 12,
      cachedTokens: 2,
      completionTokens: 3,
      prefillTokensPerSecond: 20,
      decodeTokensPerSecond: 8,
    });
    expect(report.timeToFirstTokenSeconds).toBeGreaterThan(0);
    expect(texts).toEqual(["", "Hel", "Hello"]);
    expect(shown(chat)).toEqual(["user: Hi", "assistant: Hello"]);
    expect([...store.turns.values()].map(({ state }) => state)).toEqual(["done", "done"]);
    expect([...store.conversations.values()]).toMatchObject([{ title: "Hi", model: "tiny" }]);
    expect(store.calls).toEqual(["begin", "end"]);
  });

  it("sends the whole branch, with its system prompt and parameters", async () => {
    const { chat, sent } = open([say("re: one"), say("re: two")]);
    chat.change({ system: "Be brief.", parameters: { temperature: 0.5, num_predict: -1 } });
    await ask(chat, "one");
    await ask(chat, "two");
    expect(sent()?.["messages"]).toEqual([
      { role: "system", content: "Be brief." },
      { role: "user", content: "one" },
      { role: "assistant", content: "re: one" },
      { role: "user", content: "two" },
    ]);
    expect(sent()).toMatchObject({ temperature: 0.5 });
    expect(sent()).not.toHaveProperty("max_completion_tokens");
  });

  it("shows what failed, says nothing of it to the model, and asks again when told to", async () => {
    const { chat, sent } = open([say("a"), json(500, { error: "no" }), say("b"), say("c")]);
    await ask(chat, "one");
    await expect(ask(chat, "two")).rejects.toThrow("No.");
    expect(chat.isAnswering.value).toBe(false);
    expect(chat.branch.value.at(-1)).toMatchObject({ state: "failed", error: "No." });

    await chat.retry(chat.branch.value.at(-1)?.id ?? "");
    expect(shown(chat)).toEqual(["user: one", "assistant: a", "user: two", "assistant: b"]);
    expect(sent()?.["messages"]).toHaveLength(3);
    await ask(chat, "three");
    expect(sent()?.["messages"]).toHaveLength(5);
  });

  it("leaves a failed question out when another one follows", async () => {
    const { chat, sent } = open([json(500, { error: "no" }), say("b")]);
    await expect(ask(chat, "one")).rejects.toThrow();
    await ask(chat, "two");
    expect(sent()?.["messages"]).toEqual([{ role: "user", content: "two" }]);
  });

  it("branches where a question is edited or an answer asked for again", async () => {
    const { chat, sent } = open([say("a"), say("b"), say("c")]);
    await ask(chat, "one");
    const [question, answer] = chat.branch.value;
    await chat.retry(answer?.id ?? "");
    expect(shown(chat)).toEqual(["user: one", "assistant: b"]);
    await chat.edit(question?.id ?? "", { text: "uno", attachments: [] });
    expect(shown(chat)).toEqual(["user: uno", "assistant: c"]);
    expect(sent()?.["messages"]).toEqual([{ role: "user", content: "uno" }]);
    chat.choose(question?.id ?? "");
    expect(shown(chat)).toEqual(["user: one", "assistant: b"]);
    chat.choose(answer?.id ?? "");
    expect(shown(chat)).toEqual(["user: one", "assistant: a"]);
  });

  it("keeps a stopped answer as far as it came, and goes on with it", async () => {
    const { chat, sent } = open([
      stream(chatEvents(["Hel"]).slice(0, 2), { staysOpen: true }),
      say("lo"),
    ]);
    const answer = ask(chat, "Hi");
    const unsubscribe = chat.live.subscribe((turn) => {
      if (turn?.text === "Hel") {
        chat.stop();
      }
    });
    expect(await answer).toMatchObject({ finishReason: "abort", completionTokens: 1 });
    unsubscribe();
    const stopped = chat.branch.value.at(-1);
    expect(stopped).toMatchObject({ text: "Hel", state: "stopped" });

    const report = await chat.resume(stopped?.id ?? "");
    expect(report.text).toBe("Hello");
    expect(chat.branch.value.at(-1)).toMatchObject({ id: stopped?.id, text: "Hello" });
    expect(sent()?.["messages"]).toEqual([
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hel" },
    ]);
  });

  it("answers one question at a time", async () => {
    const { chat } = open([say("a")]);
    const answer = ask(chat, "Hi");
    await expect(async () => ask(chat, "again")).rejects.toMatchObject({ code: "busy" });
    expect(() => {
      chat.begin();
    }).toThrow(/on its way/);
    await answer;
    chat.begin();
    expect(chat.branch.value).toEqual([]);
  });

  it("says when a conversation is too long, and leaves the oldest out only when told to", async () => {
    const { chat, sent } = open([say("a"), say("b"), tooLong, tooLong, tooLong, say("c")]);
    await ask(chat, "one");
    await ask(chat, "two");
    await expect(ask(chat, "three")).rejects.toMatchObject({ code: "context-overflow" });
    chat.change({ overflow: "drop-oldest" });
    await chat.retry(chat.branch.value.at(-1)?.id ?? "");
    expect(sent()?.["messages"]).toEqual([{ role: "user", content: "three" }]);
    expect(chat.branch.value.at(-1)?.figures).toMatchObject({ leftOutTurns: 4 });
  });

  it("runs tools and gives their results to the model", async () => {
    const calls = [
      { index: 0, id: "c1", type: "function", function: { name: "add", arguments: '{"a":' } },
      { index: 0, function: { arguments: "1}" } },
    ];
    const calling = stream([
      ...calls.map((call) =>
        JSON.stringify({ choices: [{ delta: { tool_calls: [call] }, finish_reason: null }] }),
      ),
      JSON.stringify({ choices: [{ delta: {}, finish_reason: "tool_calls" }] }),
      "[DONE]",
    ]);
    const { chat, sent } = open([calling, say("One.")]);
    await ask(chat, "Add 1");
    expect(sent()?.["messages"]).toEqual([
      { role: "user", content: "Add 1" },
      {
        role: "assistant",
        content: "",
        tool_calls: [
          { id: "c1", type: "function", function: { name: "add", arguments: '{"a":1}' } },
        ],
      },
      { role: "tool", tool_call_id: "c1", content: 'ran {"a":1}' },
    ]);
    expect(shown(chat)).toEqual(["user: Add 1", "assistant: ", "tool: ", "assistant: One."]);
  });

  it("gives the passages of documents with the question that has them, once and for all", async () => {
    const source = { attachment: "d", name: "a.txt", page: 0, text: "Bees hum.", score: 1 };
    let retrieved = 0;
    const { chat, sent } = open([say("a"), say("b")], {
      retrieval: {
        retrieve: () => {
          retrieved++;
          return Promise.resolve([source]);
        },
      },
    });
    const document = {
      kind: "document" as const,
      id: "d",
      name: "a.txt",
      mediaType: "text/plain",
      bytes: 9,
      sha256: "00",
      characters: 9,
      pages: 0,
    };
    await chat.ask({ text: "What hums?", attachments: [document] });
    expect(sent()?.["messages"]).toEqual([{ role: "user", content: "Bees hum.\n\nWhat hums?" }]);
    await chat.retry(chat.branch.value.at(-1)?.id ?? "");
    expect(retrieved).toBe(1);
  });

  it("opens what is kept", async () => {
    const { chat } = open([say("a"), say("b")]);
    await ask(chat, "one");
    const { id } = chat.conversation.value;
    chat.begin();
    expect(await chat.open("nobody")).toBe(false);
    expect(await chat.open(id)).toBe(true);
    expect(shown(chat)).toEqual(["user: one", "assistant: a"]);
  });
});
