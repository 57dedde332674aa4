import { describe, expect, it } from "vitest";

import type { GenerateRequest } from "../../web/src/protocol.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import { LlamaEncoder } from "../../web/src/worker/llama/llama-encoder.ts";
import { LlamaRuntime } from "../../web/src/worker/llama/llama-runtime.ts";
import { Llama } from "../../web/src/worker/llama/llama.ts";
import { threadCount } from "../../web/src/worker/llama/threads.ts";
import { FakeLlama } from "./fake-llama.ts";

const VOCABULARY = 200;

function start(process: FakeLlama) {
  const runtime = new LlamaRuntime(new Llama(process), 64, VOCABULARY);
  return { runtime, engine: new Engine(runtime) };
}

async function generate(
  engine: Engine,
  promptTokenIds: number[],
  more: Partial<GenerateRequest> = {},
) {
  const ids: number[] = [];
  const sampling = { temperature: 0, topP: 1, seed: 0 };
  const request = { promptTokenIds, sampling, stopTokenIds: [], maxTokens: 3, ...more };
  const done = await engine.generate(request, ({ tokenId }) => ids.push(tokenId));
  return { ids, done };
}

describe("a model on the processor", () => {
  it("is pointed at where its file lies, and says what it is", async () => {
    const process = new FakeLlama();
    process.metadata = { "general.architecture": "llama" };
    const file = new Blob(["GGUF"]);
    const options = { contextWindowSize: 2048, threads: 2, isEmbedding: false };
    const model = await new Llama(process).load(file, options);
    expect([...process.files.values()]).toEqual([file]);
    expect(process.loaded).toMatchObject({ n_ctx: 2048, n_threads: 2, use_mmap: true });
    expect(process.loaded?.model_paths).toEqual([`models/${[...process.files.keys()].join()}`]);
    expect(model).toMatchObject({ bosTokenId: 1, eosTokenId: 2, endTokenIds: [2, 3] });
    expect(model.metadata.get("general.architecture")).toBe("llama");
  });

  it("answers greedily without asking for every probability", async () => {
    const process = new FakeLlama();
    const { ids } = await generate(start(process).engine, [5, 6]);
    expect(ids).toEqual([7, 8, 9]);
    expect(process.tokenIds).toEqual([5, 6, 7, 8]);
  });

  it("draws by the same sampler as on a graphics adapter", async () => {
    const { engine } = start(new FakeLlama());
    const sampling = { temperature: 1, topP: 0.5, seed: 1 };
    // The likeliest has three quarters: a top-p of one half leaves nothing else.
    expect((await generate(engine, [5], { sampling })).ids).toEqual([6, 7, 8]);
  });

  it("gives logarithms for logits, finite ones: a mask may leave only what is unlikely", async () => {
    const { runtime } = start(new FakeLlama());
    runtime.clear();
    runtime.forward([5]);
    const logits = await runtime.readLogits();
    expect(logits[6]).toBeCloseTo(Math.log(0.75));
    expect(logits[0]).toBeCloseTo(Math.log(0.25));
    expect(logits.every(Number.isFinite)).toBe(true);
  });

  it("knows the likeliest even where its probability is none", async () => {
    const process = new FakeLlama();
    process.overflows = true;
    const { runtime } = start(process);
    runtime.clear();
    runtime.forward([5]);
    const logits = await runtime.readLogits();
    expect(logits.indexOf(Math.max(...logits))).toBe(6);
  });

  it.each([false, true])("keeps what a prompt begins with (cannotGoBack: %s)", async (cannot) => {
    const process = new FakeLlama();
    process.cannotGoBack = cannot;
    const { engine } = start(process);
    await generate(engine, [5, 6, 7, 8]);
    const { ids, done } = await generate(engine, [5, 6, 50]);
    expect(ids).toEqual([51, 52, 53]);
    expect(done.cachedTokens).toBe(2);
    expect(process.tokenIds).toEqual([5, 6, 50, 51, 52]);
  });

  it("starts over after a failure", async () => {
    const process = new FakeLlama();
    const { engine } = start(process);
    await expect(generate(engine, [5, 999])).rejects.toMatchObject({ code: "internal" });
    expect((await generate(engine, [5])).ids).toEqual([6, 7, 8]);
    expect(process.tokenIds).toEqual([5, 6, 7]);
  });

  it("ends with its worker", () => {
    const process = new FakeLlama();
    start(process).engine.dispose();
    expect(process.isEnded).toBe(true);
  });
});

describe("an embedding model on the processor", () => {
  it("forgets one text before the next", async () => {
    const encoder = new LlamaEncoder(new Llama(new FakeLlama()), 512);
    const vectors = await encoder.encode([[7, 8], [9]]);
    expect(vectors.map((vector) => [...vector])).toEqual([
      [2, 7, 0],
      [1, 9, 0],
    ]);
  });
});

it.each([
  ["without isolation there is one", 8, false, undefined, 1],
  ["even where more are wanted", 8, false, 4, 1],
  ["half of the cores", 8, true, undefined, 4],
  ["never none", 1, true, undefined, 1],
  ["not more than pay", 64, true, undefined, 8],
  ["as many as are wanted", 2, true, 2, 2],
])("threads: %s", (_, cores, isIsolated, wanted, expected) => {
  expect(threadCount(cores, isIsolated, wanted)).toBe(expected);
});
