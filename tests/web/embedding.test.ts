/** Texts to vectors: tokens, lengths, order, and the message that carries them. */
import { describe, expect, it } from "vitest";

import { EngineClient } from "../../web/src/client/engine-client.ts";
import type { Embeddings, WorkerMessage } from "../../web/src/protocol.ts";
import { parseTask } from "../../web/src/worker/chat-config.ts";
import { EmbeddingModel } from "../../web/src/worker/embedding-model.ts";
import { requireChat, requireEmbedding } from "../../web/src/worker/load.ts";
import type { EncoderRuntime } from "../../web/src/worker/runtime.ts";
import { Tokenizer } from "../../web/src/worker/tokenizer.ts";
import { bytesOf } from "./bundle-fixture.ts";

const WINDOW = 4;

/** The vector of tokens a, b, c is their sum and four of it. */
class FakeEncoder implements EncoderRuntime {
  readonly contextWindowSize = WINDOW;
  readonly encoded: number[][] = [];
  /** How many texts each call had. */
  readonly runs: number[] = [];
  release: Promise<void> = Promise.resolve();

  async encode(texts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    this.runs.push(texts.length);
    this.encoded.push(...texts.map((tokenIds) => [...tokenIds]));
    await this.release;
    return texts.map((tokenIds) => {
      const sum = tokenIds.reduce((total, id) => total + id, 0);
      return Float32Array.of(3 * sum, 4 * sum);
    });
  }

  dispose(): void {
    this.encoded.length = 0;
  }
}

/** A letter is a token; 0 stands before and after. */
const LETTERS = {
  vocabularySize: 27,
  encodeWhole: (text: string) => [0, ...Array.from(text, (letter) => letter.charCodeAt(0) - 96), 0],
};

function start() {
  const runtime = new FakeEncoder();
  return { runtime, model: new EmbeddingModel(runtime, LETTERS) };
}

describe("EmbeddingModel", () => {
  it("gives one vector of length 1 a text, in order", async () => {
    const { runtime, model } = start();
    const { vectors, tokenCounts } = await model.embed({ texts: ["b", "ab"] });
    expect(runtime.encoded).toEqual([
      [0, 2, 0],
      [0, 1, 2, 0],
    ]);
    expect(vectors.map((vector) => [...vector].map((value) => value.toFixed(6)))).toEqual([
      ["0.600000", "0.800000"],
      ["0.600000", "0.800000"],
    ]);
    expect(tokenCounts).toEqual([3, 4]);
  });

  it("runs short texts together, as many tokens as one text may have", async () => {
    const { runtime, model } = start();
    const texts = [
      [1],
      [2, 3],
      [4],
      [5],
      [6, 7, 8, 9],
      [10],
      ...Array.from({ length: 4 }, () => [1]),
    ];
    const { vectors } = await model.embed({ texts, normalize: false });
    expect(runtime.runs).toEqual([3, 1, 1, 4, 1]);
    expect(runtime.encoded).toEqual(texts);
    expect(vectors.map(([first]) => first)).toEqual([3, 15, 12, 15, 90, 30, 3, 3, 3, 3]);
  });

  it("lets go between two runs", async () => {
    const { runtime, model } = start();
    const gone = new AbortController();
    const reply = model.embed({ texts: [[1, 2, 3], [4, 5, 6], [7]] }, gone.signal);
    gone.abort();
    await expect(reply).rejects.toMatchObject({ code: "aborted" });
    expect(runtime.encoded).toEqual([]);
  });

  it("gives the model's own vectors on request, and zeros as they are", async () => {
    const { model } = start();
    const raw = await model.embed({ texts: ["b"], normalize: false });
    expect([...(raw.vectors[0] ?? [])]).toEqual([6, 8]);
    const zeros = await model.embed({ texts: [""] });
    expect([...(zeros.vectors[0] ?? [])]).toEqual([0, 0]);
  });

  it("refuses a text that is too long before any text runs", async () => {
    const { runtime, model } = start();
    await expect(model.embed({ texts: ["a", "abc"] })).rejects.toMatchObject({
      code: "context-overflow",
      message: "Text 2 of 2 has 5 tokens; this model takes 4. Split it into shorter ones.",
    });
    expect(runtime.encoded).toEqual([]);
    await expect(model.embed({ texts: ["ab"] })).resolves.toMatchObject({ tokenCounts: [4] });
  });

  it("does one request at a time", async () => {
    const { runtime, model } = start();
    let release: () => void = () => undefined;
    runtime.release = new Promise((resolve) => {
      release = resolve;
    });
    const first = model.embed({ texts: ["a"] });
    const second = model.embed({ texts: ["b"] });
    const gone = new AbortController();
    const third = model.embed({ texts: ["c"] }, gone.signal);
    gone.abort();
    await expect(third).rejects.toMatchObject({ code: "aborted" });
    expect(runtime.encoded).toHaveLength(1);
    release();
    await expect(first).resolves.toMatchObject({ tokenCounts: [3] });
    await expect(second).resolves.toMatchObject({ tokenCounts: [3] });
    expect(runtime.encoded).toEqual([
      [0, 1, 0],
      [0, 2, 0],
    ]);
  });

  it("takes token ids, and refuses those that there are not", async () => {
    const { runtime, model } = start();
    await expect(model.embed({ texts: [[5, 6], "a"] })).resolves.toMatchObject({
      tokenCounts: [2, 3],
    });
    expect(runtime.encoded[0]).toEqual([5, 6]);
    await expect(model.embed({ texts: [[27]] })).rejects.toMatchObject({
      code: "invalid-request",
      message: "There is no token 27; this model has 27.",
    });
  });

  it("is not asked to chat", () => {
    const report = { model: "mini" } as Parameters<typeof requireChat>[0]["report"];
    const loaded = { model: start().model, report };
    expect(requireEmbedding(loaded)).toBe(loaded.model);
    expect(() => requireChat(loaded)).toThrow(
      "mini is an embedding model: it turns texts into vectors and does not chat.",
    );
  });
});

describe("the task", () => {
  it.each([
    [{}, "chat"],
    [{ model_task: "chat" }, "chat"],
    [{ model_task: "embedding" }, "embedding"],
  ])("is in the config: %j", (json, task) => {
    expect(parseTask(bytesOf(json))).toBe(task);
  });

  it("is one that this engine knows", () => {
    expect(() => parseTask(bytesOf({ model_task: "rerank" }))).toThrow(/chat or embedding/);
  });
});

describe("a tokenizer", () => {
  it("puts its special tokens around a whole text, and none into a prompt", () => {
    const special = (id: number, content: string) => ({
      id,
      content,
      special: true,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
    });
    const around = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
    const tokenizer = new Tokenizer(
      bytesOf({
        version: "1.0",
        added_tokens: [special(0, "[CLS]"), special(1, "[SEP]"), special(2, "[UNK]")],
        normalizer: { type: "BertNormalizer", lowercase: true, handle_chinese_chars: true },
        pre_tokenizer: { type: "BertPreTokenizer" },
        post_processor: {
          type: "TemplateProcessing",
          single: [around("[CLS]"), { Sequence: { id: "A", type_id: 0 } }, around("[SEP]")],
          pair: [],
          special_tokens: {
            "[CLS]": { id: "[CLS]", ids: [0], tokens: ["[CLS]"] },
            "[SEP]": { id: "[SEP]", ids: [1], tokens: ["[SEP]"] },
          },
        },
        decoder: null,
        model: {
          type: "WordPiece",
          unk_token: "[UNK]",
          continuing_subword_prefix: "##",
          max_input_chars_per_word: 100,
          vocab: { "[CLS]": 0, "[SEP]": 1, "[UNK]": 2, play: 3, "##ing": 4 },
        },
      }),
    );
    expect(tokenizer.encodeWhole("Playing")).toEqual([0, 3, 4, 1]);
    expect(tokenizer.encodeWhole("")).toEqual([0, 1]);
    expect(tokenizer.encode("Playing")).toEqual([3, 4]);
  });
});

describe("EngineClient.embed", () => {
  it("resolves with the vectors of its request", async () => {
    const sent: { kind: string; id: number; payload: unknown }[] = [];
    let hear: (event: { data: WorkerMessage }) => void = () => undefined;
    const client = new EngineClient({
      postMessage: (message) => {
        sent.push(message as (typeof sent)[number]);
      },
      addEventListener: (type: string, listener: unknown) => {
        if (type === "message") {
          hear = listener as typeof hear;
        }
      },
    });
    const reply = client.embed({ texts: ["a"], normalize: false });
    expect(sent).toMatchObject([{ kind: "embed", payload: { texts: ["a"], normalize: false } }]);
    const value: Embeddings = { vectors: [Float32Array.of(1, 2)], tokenCounts: [3] };
    hear({ data: structuredClone({ kind: "reply", id: sent[0]?.id ?? 0, value }) });
    await expect(reply).resolves.toEqual(value);
  });
});
