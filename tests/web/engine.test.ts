import { describe, expect, it } from "vitest";

import { TransomError } from "../../web/src/errors.ts";
import type { Done, GenerateRequest, TokenEvent } from "../../web/src/protocol.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import { FakeRuntime, RewindingRuntime } from "./fake-runtime.ts";

const GREEDY = { temperature: 0, topP: 1, seed: 0 };

function request(promptTokenIds: number[], more: Partial<GenerateRequest> = {}): GenerateRequest {
  return { promptTokenIds, sampling: GREEDY, stopTokenIds: [], maxTokens: 5, ...more };
}

async function run(
  engine: Engine,
  asked: GenerateRequest,
  signal?: AbortSignal,
): Promise<{ ids: number[]; events: TokenEvent[]; done: Done }> {
  const events: TokenEvent[] = [];
  const done = await engine.generate(asked, (event) => events.push(event), signal);
  return { ids: events.map(({ tokenId }) => tokenId), events, done };
}

describe("Engine", () => {
  it("prefills in chunks, then decodes one token at a time", async () => {
    const runtime = new FakeRuntime();
    const { ids, done } = await run(new Engine(runtime), request([1, 2, 3, 4, 5, 6, 7, 8, 9]));
    expect(ids).toEqual([10, 11, 12, 13, 14]);
    expect(runtime.forwards).toEqual([[1, 2, 3, 4], [5, 6, 7, 8], [9], [10], [11], [12], [13]]);
    expect(done).toMatchObject({
      finishReason: "length",
      stopTokenId: null,
      promptTokens: 9,
      cachedTokens: 0,
      completionTokens: 5,
    });
  });

  it("reads no logits back when it is greedy", async () => {
    const runtime = new FakeRuntime();
    await run(new Engine(runtime), request([1]));
    expect(runtime.logitReads).toBe(0);
  });

  it("gives the first logits where they are asked for, and only those", async () => {
    const runtime = new FakeRuntime();
    const { events } = await run(new Engine(runtime), request([1], { wantFirstLogits: true }));
    expect(events[0]?.logits).toHaveLength(runtime.vocabularySize);
    expect(events.slice(1).every(({ logits }) => logits === undefined)).toBe(true);
    expect(runtime.logitReads).toBe(1);
  });

  it("samples from the logits when there is a temperature", async () => {
    const runtime = new FakeRuntime();
    const sampling = { temperature: 0.5, topP: 0.9, seed: 1 };
    const { ids } = await run(new Engine(runtime), request([1], { sampling }));
    expect(ids).toEqual([2, 3, 4, 5, 6]);
    expect(runtime.logitReads).toBe(5);
  });

  it("stops at a stop token, which is not part of the answer", async () => {
    const runtime = new FakeRuntime();
    const { ids, done } = await run(new Engine(runtime), request([1, 2], { stopTokenIds: [5] }));
    expect(ids).toEqual([3, 4]);
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: 5, completionTokens: 2 });
  });

  it.each([
    { temperature: 0, topP: 1, seed: 0 },
    { temperature: 50, topP: 0.99, seed: 7 },
  ])("goes on with a broken answer as if nothing had happened (%o)", async (sampling) => {
    const whole = await run(new Engine(new FakeRuntime()), request([1, 2], { sampling }));
    const answeredTokenIds = whole.ids.slice(0, 2);
    const broken = request([1, 2], { sampling, answeredTokenIds });
    const { ids, done } = await run(new Engine(new FakeRuntime()), broken);
    expect([...answeredTokenIds, ...ids]).toEqual(whole.ids);
    expect(done).toMatchObject({ promptTokens: 2, completionTokens: 5, finishReason: "length" });
  });

  it("ends at the edge of the context window", async () => {
    const runtime = new FakeRuntime(8);
    const { ids, done } = await run(new Engine(runtime), request([1, 2, 3], { maxTokens: 99 }));
    // Five more fit into the cache; the sixth was chosen from them and needs no place.
    expect(ids).toEqual([4, 5, 6, 7, 8, 9]);
    expect(done.finishReason).toBe("length");
    expect(runtime.kvCache).toHaveLength(8);
  });

  it("refuses a prompt that leaves no room, and names both numbers", async () => {
    const engine = new Engine(new FakeRuntime(8));
    await expect(run(engine, request([1, 2, 3, 4, 5, 6, 7, 8]))).rejects.toMatchObject({
      code: "context-overflow",
      message: expect.stringMatching(/8 tokens.*hold 8/) as string,
    });
  });

  it("leaves out the oldest of a prompt that is too long, where that is asked for", async () => {
    const runtime = new FakeRuntime(8);
    const asked = request([1, 2, 3, 4, 5, 6, 7, 8, 9], { overflow: "truncate", keepTokens: 2 });
    const { ids, done } = await run(new Engine(runtime), asked);
    expect(runtime.forwards.slice(0, 2)).toEqual([
      [1, 2, 6, 7],
      [8, 9],
    ]);
    expect(ids).toEqual([10, 11, 12]);
    expect(done).toMatchObject({ finishReason: "length", promptTokens: 9, truncatedTokens: 3 });
  });

  it("forgets the older half of a full window and goes on, where that is asked for", async () => {
    const runtime = new FakeRuntime(8);
    const asked = request([1, 2, 3], { overflow: "shift", keepTokens: 1, maxTokens: 20 });
    const { ids, done } = await run(new Engine(runtime), asked);
    expect(ids).toEqual(Array.from({ length: 20 }, (_, index) => index + 4));
    // 1 stays; of 2 to 9 the newer half.
    expect(runtime.forwards).toContainEqual([1, 6, 7, 8]);
    expect(done).toMatchObject({ finishReason: "length", completionTokens: 20 });
    expect(done.truncatedTokens).toBeGreaterThan(4);
  });

  it("tells log-probabilities where they are asked for", async () => {
    const { events } = await run(
      new Engine(new FakeRuntime()),
      request([1], { topLogprobs: 2, maxTokens: 1 }),
    );
    const [{ tokenId, logprobs } = { tokenId: -1 }] = events;
    expect(tokenId).toBe(2);
    // One logit of 50 among 99 of 0.
    expect(logprobs?.logprob).toBeCloseTo(0, 10);
    expect(logprobs?.top).toHaveLength(2);
    expect(logprobs?.top[0]).toEqual({ tokenId: 2, logprob: logprobs?.logprob });
    expect(logprobs?.top[1]).toEqual({ tokenId: 0, logprob: expect.closeTo(-50, 5) as number });
  });

  it("reads a known text: one prefill, then a step for each token that is judged", async () => {
    const runtime = new FakeRuntime();
    const best: [number, number][] = [];
    await new Engine(runtime).score([1, 2, 3, 4, 5, 6, 9, 9], 6, (logits, position) => {
      best.push([position, logits.indexOf(50)]);
    });
    expect(runtime.forwards).toEqual([[1, 2, 3, 4], [5, 6], [9]]);
    expect(best).toEqual([
      [6, 7],
      [7, 10],
    ]);
  });

  it.each([
    ["no given token", 0, [1, 2]],
    ["nothing to judge", 2, [1, 2]],
    ["more than fits", 1, [1, 2, 3, 4, 5, 6, 7, 8]],
  ])("refuses to read a text with %s", async (_, prefilled, tokenIds) => {
    const engine = new Engine(new FakeRuntime(8));
    await expect(engine.score(tokenIds, prefilled, () => undefined)).rejects.toThrow(TransomError);
  });

  it("does not take what it read for the prefix of a conversation that differs", async () => {
    const engine = new Engine(new FakeRuntime());
    await engine.score([1, 2, 3, 4], 2, () => undefined);
    const { ids, done } = await run(engine, request([1, 2, 3, 7], { maxTokens: 1 }));
    expect(ids).toEqual([8]);
    expect(done.cachedTokens).toBe(3);
  });

  it.each([
    ["an empty prompt", request([])],
    ["no tokens", request([1], { maxTokens: 0 })],
    ["half a token", request([1], { maxTokens: 1.5 })],
  ])("refuses %s", async (_, asked) => {
    await expect(run(new Engine(new FakeRuntime()), asked)).rejects.toMatchObject({
      code: "invalid-request",
    });
  });
});

describe("stopping", () => {
  it("ends between two prefill chunks", async () => {
    const runtime = new FakeRuntime();
    const controller = new AbortController();
    runtime.onSettle = (waits) => {
      if (waits === 1) {
        controller.abort();
      }
    };
    const asked = request([1, 2, 3, 4, 5, 6, 7, 8, 9]);
    const { ids, done } = await run(new Engine(runtime), asked, controller.signal);
    expect(ids).toEqual([]);
    expect(runtime.forwards).toEqual([[1, 2, 3, 4]]);
    expect(done).toMatchObject({ finishReason: "abort", completionTokens: 0 });
  });

  it("ends within one token of the decode", async () => {
    const runtime = new FakeRuntime();
    const controller = new AbortController();
    const ids: number[] = [];
    const done = await new Engine(runtime).generate(
      request([1], { maxTokens: 30 }),
      ({ tokenId }) => {
        ids.push(tokenId);
        if (ids.length === 3) {
          controller.abort();
        }
      },
      controller.signal,
    );
    expect(ids).toEqual([2, 3, 4]);
    expect(done).toMatchObject({ finishReason: "abort", completionTokens: 3 });
  });

  it("leaves a KV cache that the next prompt can continue", async () => {
    const runtime = new FakeRuntime();
    const engine = new Engine(runtime);
    const controller = new AbortController();
    runtime.onSettle = (waits) => {
      if (waits === 1) {
        controller.abort();
      }
    };
    await run(engine, request([1, 2, 3, 4, 5, 6]), controller.signal);
    const { done, ids } = await run(engine, request([1, 2, 3, 4, 5, 6], { maxTokens: 1 }));
    expect(done.cachedTokens).toBe(4);
    expect(ids).toEqual([7]);
  });
});

describe("prefix reuse", () => {
  it("runs only what a longer conversation adds", async () => {
    const runtime = new FakeRuntime();
    const engine = new Engine(runtime);
    await run(engine, request([1, 2], { maxTokens: 2 }));
    // The last token was told, but never run: [1, 2, 3] is in the cache.
    const { done, ids } = await run(engine, request([1, 2, 3, 4, 50], { maxTokens: 1 }));
    expect(done.cachedTokens).toBe(3);
    expect(ids).toEqual([51]);
    expect(runtime.kvCache).toEqual([1, 2, 3, 4, 50]);
    expect(runtime.clears).toBe(1);
  });

  it.each([
    ["another conversation", [1, 9, 3, 4]],
    ["the same prompt, whose logits are gone", [1, 2, 3]],
    ["a shorter one", [1]],
  ])("starts over with %s", async (_, prompt) => {
    const runtime = new FakeRuntime();
    const engine = new Engine(runtime);
    await run(engine, request([1, 2], { maxTokens: 2 }));
    const { done } = await run(engine, request(prompt, { maxTokens: 1 }));
    expect(done.cachedTokens).toBe(0);
    expect(runtime.kvCache).toEqual(prompt);
  });

  it.each([
    ["another conversation", [1, 9, 3, 4], 1],
    ["the same prompt, whose logits are gone", [1, 2, 3], 2],
    ["a shorter one", [1, 2], 1],
    ["one that has nothing in common", [7, 2, 3], 0],
  ])("keeps what %s begins with, where the runtime can", async (_, prompt, cachedTokens) => {
    const runtime = new RewindingRuntime();
    const engine = new Engine(runtime);
    await run(engine, request([1, 2], { maxTokens: 2 }));
    const { done } = await run(engine, request(prompt, { maxTokens: 1 }));
    expect(done.cachedTokens).toBe(cachedTokens);
    expect(runtime.kvCache).toEqual(prompt);
  });

  it("starts over after a failure", async () => {
    const runtime = new FakeRuntime();
    const engine = new Engine(runtime);
    runtime.onSettle = (waits) => {
      if (waits === 2) {
        throw new TransomError("gpu-error", "The GPU refused a command.");
      }
    };
    await expect(run(engine, request([1, 2]))).rejects.toMatchObject({ code: "gpu-error" });
    const { done } = await run(engine, request([1, 2, 3, 4], { maxTokens: 1 }));
    expect(done.cachedTokens).toBe(0);
    expect(runtime.kvCache).toEqual([1, 2, 3, 4]);
  });
});

it("answers one request at a time", async () => {
  const engine = new Engine(new FakeRuntime());
  const first = run(engine, request([1]));
  const second = run(engine, request([7], { maxTokens: 2 }));
  const gone = new AbortController();
  const third = engine.generate(request([1]), () => undefined, gone.signal);
  gone.abort();
  expect(await third).toMatchObject({ finishReason: "abort", promptTokens: 1 });
  expect((await first).ids).toEqual([2, 3, 4, 5, 6]);
  expect((await second).ids).toEqual([8, 9]);
});
