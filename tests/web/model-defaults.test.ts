/** What a Modelfile gives a model: read from its layers, put before conversations, and obeyed. */
import { describe, expect, it } from "vitest";

import type { Message } from "../../web/src/protocol.ts";
import { parseChatConfig } from "../../web/src/worker/chat-config.ts";
import { ChatModel } from "../../web/src/worker/chat-model.ts";
import { ChatTemplate } from "../../web/src/worker/chat-template.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import {
  type DefaultLayers,
  NO_DEFAULTS,
  readDefaults,
  withDefaults,
} from "../../web/src/worker/model-defaults.ts";
import type { TextEvent } from "../../web/src/worker/speaking.ts";
import { StopTexts } from "../../web/src/worker/stop-texts.ts";
import { Tokenizer } from "../../web/src/worker/tokenizer.ts";
import { bytesOf } from "./bundle-fixture.ts";
import { FakeRuntime } from "./fake-runtime.ts";

const says = (role: Message["role"], content: string): Message => ({ role, content });

function layers(given: { system?: string; messages?: unknown; params?: unknown }): DefaultLayers {
  return {
    system: given.system === undefined ? null : bytesOf(given.system),
    messages: given.messages === undefined ? null : bytesOf(given.messages),
    params: given.params === undefined ? null : bytesOf(given.params),
  };
}

describe("readDefaults", () => {
  it("has nothing to say where there are no layers", () => {
    expect(readDefaults(layers({}))).toEqual(NO_DEFAULTS);
  });

  it("reads Ollama's layers", () => {
    const params = {
      temperature: 0.5,
      top_p: 1,
      seed: 7,
      num_predict: 99,
      num_ctx: 512,
      stop: ["</s>", "User:"],
      top_k: -1,
      min_p: 0.05,
      typical_p: 0.9,
      repeat_penalty: 1.1,
      presence_penalty: 0.5,
      frequency_penalty: -0.5,
      repeat_last_n: -1,
      mirostat: 1,
    };
    const messages = [says("user", "1"), says("assistant", "2")];
    expect(readDefaults(layers({ system: "Be kind. ä", messages, params }))).toEqual({
      system: "Be kind. ä",
      messages,
      parameters: {
        sampling: {
          temperature: 0.5,
          topK: 0,
          topP: 1,
          minP: 0.05,
          typicalP: 0.9,
          repeatPenalty: 1.1,
          presencePenalty: 0.5,
          frequencyPenalty: -0.5,
          repeatLastN: -1,
          seed: 7,
        },
        maxTokens: 99,
        contextWindowSize: 512,
        stops: ["</s>", "User:"],
        unused: ["mirostat"],
        written: params,
      },
    });
  });

  it("takes one stop text for a list, and negative numbers for nothing said", () => {
    const params = { stop: "x", seed: -1, num_predict: -1 };
    expect(readDefaults(layers({ params })).parameters).toEqual({
      ...NO_DEFAULTS.parameters,
      stops: ["x"],
      written: { ...params, stop: ["x"] },
    });
  });

  it.each<[string, Parameters<typeof layers>[0], RegExp]>([
    ["params that are a list", { params: [] }, /params must be an object/],
    ["a temperature in words", { params: { temperature: "1" } }, /temperature must be a number/],
    ["half a seed", { params: { seed: 0.5 } }, /seed must be a whole number/],
    ["a context of nothing", { params: { num_ctx: 0 } }, /num_ctx must be between 1/],
    ["an empty stop text", { params: { stop: [""] } }, /stop\[0\] must not be empty/],
    ["65 stop texts", { params: { stop: Array(65).fill("x") } }, /more than 64 rows/],
    ["messages that are an object", { messages: {} }, /messages must be a list/],
    ["a role of its own", { messages: [{ role: "tool", content: "" }] }, /must be one of system/],
    ["a message without text", { messages: [{ role: "user" }] }, /content must be a string/],
  ])("refuses %s", (_, given, message) => {
    expect(() => readDefaults(layers(given))).toThrow(message);
  });

  it("refuses a system prompt in another encoding", () => {
    const given = { ...layers({}), system: Uint8Array.of(0xff) };
    expect(() => readDefaults(given)).toThrow(/system prompt is not UTF-8/);
  });
});

describe("withDefaults", () => {
  const defaults = readDefaults(
    layers({ system: "S", messages: [says("user", "q"), says("assistant", "a")] }),
  );

  it("puts the system prompt and the first messages before the conversation", () => {
    expect(withDefaults(defaults, [says("user", "hi")]).map(({ content }) => content)).toEqual([
      ...["S", "q", "a", "hi"],
    ]);
  });

  it("keeps a conversation's own system message", () => {
    const talk = [says("system", "mine"), says("user", "hi")];
    expect(withDefaults(defaults, talk).map(({ content }) => content)).toEqual([
      ...["mine", "q", "a", "hi"],
    ]);
  });

  it("leaves a conversation alone where the model says nothing", () => {
    const talk = [says("user", "hi")];
    expect(withDefaults(NO_DEFAULTS, talk)).toEqual(talk);
    expect(withDefaults(readDefaults(layers({ system: "" })), talk)).toEqual(talk);
  });
});

describe("StopTexts", () => {
  function run(stops: string[], pieces: string[]): { shown: string[]; stop: string | null } {
    const stopTexts = new StopTexts(stops);
    const shown: string[] = [];
    for (const piece of pieces) {
      const { text, stop } = stopTexts.push(piece);
      shown.push(text);
      if (stop !== null) {
        return { shown, stop };
      }
    }
    return { shown: [...shown, stopTexts.finish()], stop: null };
  }

  it.each<[string, string[], string[], string[], string | null]>([
    ["in one piece", ["END"], ["abENDcd"], ["ab"], "END"],
    ["in three pieces", ["END"], ["ab E", "N", "D!"], ["ab ", "", ""], "END"],
    ["the earliest of two", ["two", "one"], ["x one two"], ["x "], "one"],
    ["a beginning that comes to nothing", ["END"], ["aEN", "x"], ["a", "ENx", ""], null],
    ["a beginning at the end of the answer", ["END"], ["aEN"], ["a", "EN"], null],
    ["overlapping beginnings", ["aab"], ["aa", "a", "b"], ["", "a", ""], "aab"],
    ["one character", ["\n"], ["a", "\nb"], ["a", ""], "\n"],
  ])("finds %s", (_, stops, pieces, shown, stop) => {
    expect(run(stops, pieces)).toEqual({ shown, stop });
  });
});

describe("ChatModel", () => {
  /** Every id is one letter: 0 is A, 1 is B, ...; the fake model counts up. */
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
  const tokenizer = new Tokenizer(
    bytesOf({
      version: "1.0",
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false },
      post_processor: null,
      decoder: { type: "ByteLevel" },
      model: {
        type: "BPE",
        vocab: Object.fromEntries(Array.from(letters, (letter, id) => [letter, id])),
        merges: [],
      },
    }),
  );
  const template = new ChatTemplate("{% for m in messages %}{{ m.content }}{% endfor %}", {
    bos: "",
    eos: "",
  });
  const config = parseChatConfig(bytesOf({ eos_token_id: 25, temperature: 0 }));

  function model(given: Parameters<typeof layers>[0]): ChatModel {
    const engine = new Engine(new FakeRuntime());
    return new ChatModel(engine, tokenizer, template, config, readDefaults(layers(given)));
  }

  async function talk(given: Parameters<typeof layers>[0], text = "A", signal?: AbortSignal) {
    const events: TextEvent[] = [];
    const request = { messages: [says("user", text)], options: {} };
    const done = await model(given).chat(request, (event) => events.push(event), signal);
    return { text: events.map((event) => event.text).join(""), done };
  }

  it("encodes the system prompt and the first messages with every conversation", async () => {
    const asked = model({ system: "C", messages: [says("user", "A"), says("assistant", "B")] });
    expect(await asked.encodeMessages([says("user", "D")])).toEqual([2, 0, 1, 3]);
  });

  it("ends an answer at a stop text, which is not shown", async () => {
    const { text, done } = await talk({ params: { stop: ["FGH", "XY"] } });
    expect(text).toBe("BCDE");
    expect(done.finishReason).toBe("stop");
  });

  it("answers to its end where no stop text comes", async () => {
    const { text, done } = await talk({ params: { stop: ["ZA", "UW"] } });
    expect(text).toBe(letters.slice(1, 25));
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: 25 });
  });

  it("is still stopped by whoever asked", async () => {
    const { done } = await talk({ params: { stop: ["Q"] } }, "A", AbortSignal.abort());
    expect(done.finishReason).toBe("abort");
  });

  it("takes the model's own length, and the caller's before it", async () => {
    expect((await talk({ params: { num_predict: 3 } })).text).toBe("BCD");
    const events: TextEvent[] = [];
    const request = { messages: [says("user", "A")], options: { maxTokens: 2 } };
    await model({ params: { num_predict: 3 } }).chat(request, (event) => events.push(event));
    expect(events.map(({ text }) => text).join("")).toBe("BC");
  });
});
