/** What the API asks of a model, and what it hears. */
import { describe, expect, it } from "vitest";

import type { CompleteEvent, CompleteRequest } from "../../web/src/api-protocol.ts";
import type { Completion } from "../../web/src/protocol.ts";
import { parseChatConfig } from "../../web/src/worker/chat-config.ts";
import { ChatModel } from "../../web/src/worker/chat-model.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import { gather } from "../../web/src/worker/gathering.ts";
import { BatchEngine } from "../../web/src/worker/scheduling/batch-engine.ts";
import type { TokenEngine } from "../../web/src/worker/token-engine.ts";
import { textOf } from "../../web/src/worker/token-text.ts";
import { Tokenizer } from "../../web/src/worker/tokenizer.ts";
import { bytesOf } from "./bundle-fixture.ts";
import { FakeBatchRuntime } from "./fake-batch-runtime.ts";
import { FakeRuntime } from "./fake-runtime.ts";

/** The fake model counts up: B, C, half an é, its other half, F, G, H, <call>, J, K, L, <end>. */
const TOKENS = ["A", "B", "C", "Ã", "©", "F", "G", "H", "<call>", "J", "K", "L", "<end>"];
const CALL = 8;
const END = 12;

const tokenizer = new Tokenizer(
  bytesOf({
    version: "1.0",
    added_tokens: [CALL, END].map((id) => ({ id, content: TOKENS[id], special: true })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(TOKENS.map((token, id) => [token, id])),
      merges: [],
    },
  }),
);

const config = parseChatConfig(bytesOf({ eos_token_id: END }));

const REQUEST: CompleteRequest = {
  model: "tiny",
  prompt: "A",
  sampling: {
    temperature: 0,
    topK: 40,
    topP: 0.9,
    minP: 0,
    typicalP: 1,
    repeatLastN: 64,
    repeatPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    seed: 3,
  },
  maxTokens: -1,
  stop: [],
  jsonSchema: null,
  grammar: null,
  stopTokenIds: [],
  ignoreEos: false,
  logitBias: [],
  choices: 1,
  logprobs: null,
  preserved: [],
};

function modelOf(engine: TokenEngine): ChatModel {
  return new ChatModel(engine, tokenizer, null, config);
}

async function complete(
  asked: Partial<CompleteRequest>,
  {
    engine = new Engine(new FakeRuntime()),
    signal,
    ...more
  }: {
    engine?: TokenEngine;
    signal?: AbortSignal;
    answered?: NonNullable<Completion["answered"]>;
  } = {},
) {
  const events: CompleteEvent[] = [];
  const completion = { request: { ...REQUEST, ...asked }, ...more };
  await modelOf(engine).completeText(completion, (event) => events.push(event), signal);
  return events;
}

const tokensOf = (events: readonly CompleteEvent[], choice = 0) =>
  events.filter((event) => event.kind === "token").filter((event) => event.choice === choice);
const textsOf = (events: readonly CompleteEvent[], choice = 0) =>
  tokensOf(events, choice).map(({ text }) => text);
const endsOf = (events: readonly CompleteEvent[]) => events.filter(({ kind }) => kind === "done");

describe("completeText", () => {
  it("gives whole characters, and the token that ends the answer", async () => {
    const events = await complete({});
    expect(textsOf(events)).toEqual(["B", "C", "", "é", "F", "G", "H", "", "J", "K", "L", ""]);
    expect(tokensOf(events).map(({ tokenIds }) => tokenIds)).toEqual(
      TOKENS.slice(1).map((_, index) => [index + 1]),
    );
    expect(endsOf(events)).toMatchObject([
      {
        choice: 0,
        finishReason: "stop",
        promptTokens: 1,
        cachedTokens: 0,
        completionTokens: 12,
        stop: null,
      },
    ]);
  });

  it("shows special tokens that are preserved, the last one, too", async () => {
    expect(textsOf(await complete({ preserved: ["<call>", "<end>", "<other>"] })).join("")).toBe(
      "BCéFGH<call>JKL<end>",
    );
  });

  it("ends at a stop text across tokens, and tells which", async () => {
    const events = await complete({ stop: ["xyz", "FG"] });
    expect(textsOf(events).join("")).toBe("BCé");
    expect(endsOf(events)).toMatchObject([
      { finishReason: "stop", stop: "FG", completionTokens: 6 },
    ]);
  });

  it("gives back what was held for a stop text that did not come", async () => {
    const events = await complete({ stop: ["GX"], maxTokens: 6 });
    expect(textsOf(events)).toEqual(["B", "C", "", "é", "F", "", "G"]);
    expect(tokensOf(events).at(-1)).toMatchObject({ tokenIds: [], text: "G" });
    expect(endsOf(events)).toMatchObject([{ finishReason: "length", completionTokens: 6 }]);
  });

  it("ends at a token of the request without saying it", async () => {
    const events = await complete({ stopTokenIds: [5] });
    expect(textsOf(events).join("")).toBe("BCé");
    expect(endsOf(events)).toMatchObject([{ finishReason: "stop", completionTokens: 5 }]);
  });

  it("goes on past the end where that is asked for", async () => {
    const events = await complete({ ignoreEos: true, maxTokens: 14 });
    expect(tokensOf(events).some(({ tokenIds }) => tokenIds.includes(END))).toBe(false);
  });

  it("obeys biases", async () => {
    const events = await complete({ logitBias: [[7, 100]], maxTokens: 2 });
    expect(textsOf(events)).toEqual(["H", "H"]);
  });

  it("tells log-probabilities with text and bytes", async () => {
    const events = await complete({ prompt: "AB", logprobs: 1, maxTokens: 3 });
    const rows = tokensOf(events).map(({ logprobs }) => logprobs[0]);
    expect(rows[0]?.chosen).toEqual({ id: 2, text: "C", bytes: [67], logprob: 0 });
    expect(rows[0]?.top).toEqual([{ id: 2, text: "C", bytes: [67], logprob: 0 }]);
    expect(rows[1]?.chosen).toMatchObject({ text: "\ufffd", bytes: [0xc3] });
    const ended = await complete({ prompt: "L", logprobs: 0 });
    expect(tokensOf(ended)[0]?.logprobs).toMatchObject([
      { chosen: { id: END, text: "", bytes: [] }, top: [] },
    ]);
  });

  it("says one token where none is asked for, and nothing to no prompt", async () => {
    expect(endsOf(await complete({ maxTokens: 0 }))).toMatchObject([
      { finishReason: "length", completionTokens: 1 },
    ]);
    expect(await complete({ prompt: "", choices: 2 })).toMatchObject([
      { kind: "done", choice: 0, finishReason: "stop", promptTokens: 0 },
      { kind: "done", choice: 1 },
    ]);
  });

  it("refuses a prompt that is too long, naming both lengths", async () => {
    const engine = new Engine(new FakeRuntime(4));
    await expect(complete({ prompt: "AAAAA", choices: 2 }, { engine })).rejects.toMatchObject({
      code: "context-overflow",
      message: expect.stringMatching(/5 tokens.* 4\./) as string,
    });
  });

  it("refuses two formats", async () => {
    await expect(complete({ jsonSchema: {}, grammar: "root ::= [a-z]" })).rejects.toMatchObject({
      code: "invalid-request",
    });
  });

  it("goes on behind what had been answered, by choice", async () => {
    const before = await complete({ choices: 2, maxTokens: 5 });
    const answered = [
      { tokenIds: [1, 2, 3], isOver: false },
      { tokenIds: [1, 2, 3, 4, 5], isOver: true },
    ];
    const events = await complete({ choices: 2, maxTokens: 5 }, { answered });
    expect(textsOf(before).join("")).toBe("BCéF");
    expect(textsOf(events)).toEqual(["é", "F"]);
    expect(endsOf(events)).toMatchObject([{ choice: 0, completionTokens: 5 }]);
  });

  it("has no end for an answer that is aborted", async () => {
    const controller = new AbortController();
    const events: CompleteEvent[] = [];
    await modelOf(new Engine(new FakeRuntime())).completeText(
      { request: { ...REQUEST, choices: 2 } },
      (event) => {
        events.push(event);
        controller.abort();
      },
      controller.signal,
    );
    expect(events).toMatchObject([{ kind: "token", choice: 0, text: "B" }]);
  });

  it("gives each choice a seed of its own, and the same ones again", async () => {
    const sampling = { ...REQUEST.sampling, temperature: 1, topP: 1 };
    const ask = (choices: number, seed: number) =>
      complete(
        { prompt: "ABC", choices, maxTokens: 6, sampling: { ...sampling, seed } },
        {
          engine: new BatchEngine(new FakeBatchRuntime({ vocabularySize: CALL })),
        },
      );
    const two = await ask(2, 3);
    const said = (events: readonly CompleteEvent[], choice: number) =>
      tokensOf(events, choice).flatMap(({ tokenIds }) => tokenIds);
    expect(said(two, 0)).toHaveLength(6);
    expect(said(two, 0)).toEqual(said(await ask(1, 3), 0));
    expect(said(two, 1)).toEqual(said(await ask(1, 4), 0));
    expect(said(two, 1)).not.toEqual(said(two, 0));
  });
});

describe("tokenize", () => {
  it("reads names of special tokens as such only where asked", () => {
    expect(tokenizer.encodeAs("A<end>", true, false)).toEqual([0, END]);
    expect(tokenizer.encodeAs("A", false, false)).toEqual([0]);
    expect(tokenizer.encodeAs("<end>", false, false)).not.toContain(END);
  });

  it("spells special tokens, and refuses those that there are not", () => {
    expect(textOf(tokenizer.table, [0, 3, 4, END])).toBe("Aé<end>");
    expect(textOf(tokenizer.table, [3])).toBe("\ufffd");
    expect(() => textOf(tokenizer.table, [13])).toThrow("There is no token 13; this model has 13.");
  });
});

describe("gather", () => {
  it("sends what comes at once together, and nothing twice", async () => {
    const sent: (readonly number[])[] = [];
    const { push, flush } = gather<number>((items) => sent.push(items));
    push(1);
    push(2);
    await expect.poll(() => sent).toEqual([[1, 2]]);
    push(3);
    flush();
    flush();
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(sent).toEqual([[1, 2], [3]]);
  });
});
