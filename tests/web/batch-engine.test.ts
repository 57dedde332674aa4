/** Many sequences over one KV cache; `fake-batch-runtime.ts` finds what is mixed up. */
import { describe, expect, it } from "vitest";

import { TransomError } from "../../web/src/errors.ts";
import type { Constraint, Done, GenerateRequest, TokenEvent } from "../../web/src/protocol.ts";
import { BatchEngine } from "../../web/src/worker/scheduling/batch-engine.ts";
import { PrefixKeeper } from "../../web/src/worker/scheduling/prefix-store.ts";
import { FakeBatchRuntime, maskOf, toyLogitsOf, toyText } from "./fake-batch-runtime.ts";

const GREEDY = { temperature: 0, topP: 1, seed: 0 };
const WARM = { temperature: 0.7, topP: 1, seed: 11 };

function request(
  promptTokenIds: readonly number[],
  more: Partial<GenerateRequest> = {},
): GenerateRequest {
  return { promptTokenIds, sampling: GREEDY, stopTokenIds: [], maxTokens: 5, ...more };
}

interface Ran {
  ids: number[];
  events: TokenEvent[];
  done: Done;
}

async function run(
  engine: BatchEngine,
  asked: GenerateRequest,
  signal?: AbortSignal,
): Promise<Ran> {
  const events: TokenEvent[] = [];
  const done = await engine.generate(asked, (event) => events.push(event), signal);
  return { ids: events.map(({ tokenId }) => tokenId), events, done };
}

function prompt(length: number, first = 0): number[] {
  return Array.from({ length }, (_, index) => (first + index * 7) % 32);
}

describe("one sequence", () => {
  it("prefills in chunks, then decodes several steps at a time", async () => {
    const runtime = new FakeBatchRuntime();
    const { ids, done } = await run(
      new BatchEngine(runtime),
      request(prompt(9), { maxTokens: 12 }),
    );
    expect(ids).toEqual(toyText(prompt(9), GREEDY, 12));
    expect(runtime.calls.filter(({ kind }) => kind === "prefill").map(({ size }) => size)).toEqual([
      8, 1,
    ]);
    const steps = runtime.calls.filter(({ kind }) => kind.startsWith("step"));
    expect(steps.map((call) => call.steps)).toEqual([1, 2, 4, 4]);
    expect(done).toMatchObject({
      finishReason: "length",
      stopTokenId: null,
      promptTokens: 9,
      cachedTokens: 0,
      completionTokens: 12,
    });
  });

  it("reads back less than once in four tokens", async () => {
    const runtime = new FakeBatchRuntime({ contextWindowSize: 128 });
    await run(new BatchEngine(runtime), request(prompt(9), { maxTokens: 64 }));
    const reads = runtime.calls.filter(({ kind }) => kind !== "prefill").length;
    expect(reads / 64).toBeLessThan(0.25);
  });

  it("draws the same with the same seed, wherever the answer broke off", async () => {
    const whole = await run(new BatchEngine(new FakeBatchRuntime()), {
      ...request(prompt(5), { maxTokens: 20 }),
      sampling: WARM,
    });
    expect(whole.ids).toEqual(toyText(prompt(5), WARM, 20));
    const answeredTokenIds = whole.ids.slice(0, 7);
    const rest = await run(new BatchEngine(new FakeBatchRuntime()), {
      ...request(prompt(5), { maxTokens: 20, answeredTokenIds }),
      sampling: WARM,
    });
    expect([...answeredTokenIds, ...rest.ids]).toEqual(whole.ids);
    expect(rest.done).toMatchObject({ promptTokens: 5, completionTokens: 20 });
  });

  it("drops what was chosen behind a stop token", async () => {
    const all = toyText(prompt(6), GREEDY, 20);
    const stop = all[9] ?? 0;
    const { ids, done } = await run(
      new BatchEngine(new FakeBatchRuntime()),
      request(prompt(6), { maxTokens: 20, stopTokenIds: [stop] }),
    );
    expect(ids).toEqual(all.slice(0, all.indexOf(stop)));
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: stop });
  });

  it("ends at the edge of the context window", async () => {
    const runtime = new FakeBatchRuntime({ contextWindowSize: 20 });
    const { ids, done } = await run(
      new BatchEngine(runtime),
      request(prompt(3), { maxTokens: 99 }),
    );
    // 17 more fit into the cache; the 18th was chosen from them and needs no place.
    expect(ids).toEqual(toyText(prompt(3), GREEDY, 18));
    expect(done.finishReason).toBe("length");
  });

  it("gives the first logits where they are asked for, and only those", async () => {
    const { events } = await run(
      new BatchEngine(new FakeBatchRuntime()),
      request(prompt(9), { wantFirstLogits: true }),
    );
    expect(events[0]?.logits).toEqual(toyLogitsOf(prompt(9)));
    expect(events.slice(1).every(({ logits }) => logits === undefined)).toBe(true);
  });

  it.each([
    ["an empty prompt", request([])],
    ["no tokens", request([1], { maxTokens: 0 })],
    ["half a token", request([1], { maxTokens: 1.5 })],
    ["a wrong temperature", request([1], { sampling: { ...GREEDY, temperature: -1 } })],
    [
      "more biases than the GPU has room for",
      request([1], {
        sampling: { ...GREEDY, logitBias: Object.fromEntries(prompt(513).map((_, id) => [id, 1])) },
      }),
    ],
    ["too many log-probabilities", request([1], { topLogprobs: 21 })],
    ["more kept tokens than there are", request([1], { keepTokens: 2 })],
  ])("refuses %s", async (_, asked) => {
    await expect(run(new BatchEngine(new FakeBatchRuntime()), asked)).rejects.toMatchObject({
      code: "invalid-request",
    });
  });
});

describe("several sequences", () => {
  it("decode together, each as if it were alone", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const prompts = [3, 9, 17, 5].map((length, index) => prompt(length, index));
    const ran = await Promise.all(
      prompts.map((ids) => run(engine, request(ids, { maxTokens: 25 }))),
    );
    ran.forEach(({ ids }, index) => {
      expect(ids).toEqual(toyText(prompts[index] ?? [], GREEDY, 25));
    });
    expect(Math.max(...runtime.calls.map(({ kind, size }) => (kind === "step" ? size : 0)))).toBe(
      4,
    );
  });

  it("wait in line, in order, when all rows are taken", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime({ maxRows: 2 }));
    const started: number[] = [];
    await Promise.all(
      [0, 1, 2, 3, 4, 5].map((index) =>
        engine.generate(request(prompt(6, index), { maxTokens: 9 }), () => {
          if (!started.includes(index)) {
            started.push(index);
          }
        }),
      ),
    );
    expect(started).toEqual([0, 1, 2, 3, 4, 5]);
  });

  it("go on while another one's long prompt runs piece by piece", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    let told = 0;
    let first: Promise<Done> | undefined;
    await new Promise<void>((resolve) => {
      first = engine.generate(request(prompt(4), { maxTokens: 60 }), () => {
        if (++told === 10) {
          resolve();
        }
      });
    });
    const { ids } = await run(engine, request(prompt(50, 3), { maxTokens: 4 }));
    await first;
    expect(ids).toEqual(toyText(prompt(50, 3), GREEDY, 4));
    const kinds = runtime.calls.map(({ kind }) => kind);
    const prefills = kinds.flatMap((kind, index) => (kind === "prefill" ? [index] : [])).slice(1);
    expect(prefills.length).toBeGreaterThan(3);
    for (const index of prefills.slice(0, -1)) {
      expect(kinds[index + 1]).toBe("step");
    }
  });
});

describe("an abort", () => {
  it("is answered at once, in the middle of a group, and nothing is told after it", async () => {
    const controller = new AbortController();
    const ids: number[] = [];
    const engine = new BatchEngine(new FakeBatchRuntime());
    const done = await engine.generate(
      request(prompt(4), { maxTokens: 30 }),
      ({ tokenId }) => {
        ids.push(tokenId);
        if (ids.length === 5) {
          controller.abort();
        }
      },
      controller.signal,
    );
    expect(done).toMatchObject({ finishReason: "abort", completionTokens: 5 });
    const again = await run(engine, request(prompt(4), { maxTokens: 30 }));
    expect(ids).toEqual(again.ids.slice(0, 5));
  });

  it("is the end, though the window is full just then", async () => {
    const controller = new AbortController();
    const ids: number[] = [];
    const engine = new BatchEngine(new FakeBatchRuntime({ contextWindowSize: 16 }));
    const done = await engine.generate(
      request(prompt(4), { maxTokens: 60, overflow: "shift" }),
      ({ tokenId }) => {
        ids.push(tokenId);
        // The window holds twelve more, and one was chosen behind them.
        if (ids.length === 13) {
          controller.abort();
        }
      },
      controller.signal,
    );
    await run(engine, request([1]));
    expect(done).toMatchObject({ finishReason: "abort", completionTokens: 13 });
    expect(ids).toHaveLength(13);
  });

  it("needs no answer from the GPU", async () => {
    const runtime = new FakeBatchRuntime();
    runtime.delay = () => new Promise(() => undefined);
    const controller = new AbortController();
    const running = run(new BatchEngine(runtime), request(prompt(4)), controller.signal);
    await Promise.resolve();
    controller.abort();
    expect((await running).done).toMatchObject({ finishReason: "abort", completionTokens: 0 });
  });

  it("takes one out of the line, or out of the middle of its prompt", async () => {
    const runtime = new FakeBatchRuntime({ maxRows: 1 });
    const engine = new BatchEngine(runtime);
    const controllers = [0, 1, 2].map(() => new AbortController());
    const all = controllers.map(({ signal }, index) =>
      run(engine, request(prompt(30, index), { maxTokens: 3 }), signal),
    );
    await runtime.settle();
    controllers[0]?.abort();
    controllers[1]?.abort();
    const [first, second, third] = await Promise.all(all);
    expect(first?.done.finishReason).toBe("abort");
    expect(second?.done.finishReason).toBe("abort");
    expect(third?.ids).toEqual(toyText(prompt(30, 2), GREEDY, 3));
  });

  it("before the call runs nothing", async () => {
    const runtime = new FakeBatchRuntime();
    const { done } = await run(new BatchEngine(runtime), request([1]), AbortSignal.abort());
    expect(done.finishReason).toBe("abort");
    expect(runtime.calls).toEqual([]);
  });
});

describe("prefix reuse", () => {
  it("runs only what a longer conversation adds to whole pages", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const first = await run(engine, request(prompt(10), { maxTokens: 6 }));
    const longer = [...prompt(10), ...first.ids, 1, 2, 3];
    const { ids, done } = await run(engine, request(longer));
    expect(ids).toEqual(toyText(longer, GREEDY, 5));
    // The last of 16 tokens was told, but never run: three pages of four.
    expect(done.cachedTokens).toBe(12);
    expect(runtime.prefilledTokens).toBe(10 + 7);
  });

  it("leaves one token to run of a prompt that is known as a whole", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const first = await run(engine, request(prompt(8)));
    const again = await run(engine, request(prompt(8)));
    expect(again.ids).toEqual(first.ids);
    expect(again.done.cachedTokens).toBe(4);
  });

  it("prefills equal prompts once, whoever comes while they run", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const ran = await Promise.all(
      [1, 2, 3, 4].map((seed) =>
        run(engine, request(prompt(22), { sampling: { ...WARM, seed }, maxTokens: 12 })),
      ),
    );
    ran.forEach(({ ids }, index) => {
      expect(ids).toEqual(toyText(prompt(22), { ...WARM, seed: index + 1 }, 12));
    });
    // Three more run the last token; what fills part of a page is copied.
    expect(runtime.prefilledTokens).toBe(22 + 3);
    expect(runtime.copies).toBe(3);
  });

  it("knows what penalties look back at, though it never ran", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const sampling = { ...GREEDY, presencePenalty: 2 };
    await run(engine, request(prompt(12)));
    // Another one in its slot leaves other tokens there.
    await run(engine, request(prompt(12, 5)));
    const { ids, done } = await run(engine, request(prompt(12), { sampling, maxTokens: 15 }));
    expect(done.cachedTokens).toBe(8);
    expect(ids).toEqual(toyText(prompt(12), sampling, 15));
  });
});

describe("few pages", () => {
  it("let go of what was used longest ago", async () => {
    const runtime = new FakeBatchRuntime({ pageCount: 8, contextWindowSize: 32 });
    const engine = new BatchEngine(runtime);
    for (const first of [0, 1, 2, 3, 0, 1]) {
      const { ids } = await run(engine, request(prompt(14, first), { maxTokens: 6 }));
      expect(ids).toEqual(toyText(prompt(14, first), GREEDY, 6));
    }
  });

  it("make the youngest wait, and its text is the same", async () => {
    const runtime = new FakeBatchRuntime({ pageCount: 12, contextWindowSize: 40 });
    const engine = new BatchEngine(runtime);
    const ran = await Promise.all(
      [0, 1, 2].map((index) => run(engine, request(prompt(8, index), { maxTokens: 28 }))),
    );
    ran.forEach(({ ids }, index) => {
      expect(ids).toEqual(toyText(prompt(8, index), GREEDY, 28));
    });
    const [first, , last] = ran;
    expect(runtime.prefilledTokens).toBeGreaterThan(3 * 8);
    expect(first?.done.finishReason).toBe("length");
    expect(last?.done.completionTokens).toBe(28);
  });
});

describe("log-probabilities", () => {
  it("come with each token, the likeliest first", async () => {
    const { events, ids } = await run(
      new BatchEngine(new FakeBatchRuntime()),
      request(prompt(6), { topLogprobs: 3 }),
    );
    expect(ids).toEqual(toyText(prompt(6), GREEDY, 5));
    for (const { tokenId, logprobs } of events) {
      expect(logprobs?.top.map((entry) => entry.tokenId)).toHaveLength(3);
      expect(logprobs?.top[0]).toEqual({ tokenId, logprob: logprobs?.logprob });
    }
  });

  it("are no likeliest ones where none are asked for, and nothing where nothing is", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    const none = await run(engine, request(prompt(6), { topLogprobs: 0 }));
    expect(none.events[0]?.logprobs?.top).toEqual([]);
    expect((await run(engine, request(prompt(6)))).events[0]).not.toHaveProperty("logprobs");
  });
});

describe("a format", () => {
  /** Tokens 1 to 9, each larger than the one before it; 9 is the end. */
  class Rising implements Constraint {
    readonly accepted: number[] = [];
    nextMask(): Int32Array {
      const last = this.accepted.at(-1) ?? 0;
      return maskOf(Array.from({ length: 9 - last }, (_, index) => last + 1 + index));
    }
    accept(tokenId: number): boolean {
      this.accepted.push(tokenId);
      return tokenId < 9;
    }
    dispose(): void {
      this.accepted.length = 0;
    }
  }

  it("holds every token, in company too, and ends the answer when it is complete", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    const constraint = new Rising();
    const [{ ids, done }, other] = await Promise.all([
      run(engine, request(prompt(6), { constraint, maxTokens: 20 })),
      run(engine, request(prompt(7), { maxTokens: 20 })),
    ]);
    expect(ids).toEqual([...ids].sort((one, two) => one - two));
    expect(ids.at(-1)).toBe(9);
    expect(constraint.accepted).toEqual(ids);
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: null });
    expect(other.ids).toEqual(toyText(prompt(7), GREEDY, 20));
  });

  it("fails alone", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    const broken = new Rising();
    broken.nextMask = () => {
      if (broken.accepted.length > 0) {
        throw new Error("no token can follow");
      }
      return maskOf([1]);
    };
    const bad = run(engine, request(prompt(6), { constraint: broken }));
    const good = run(engine, request(prompt(7), { maxTokens: 20 }));
    await expect(bad).rejects.toThrow("no token can follow");
    expect((await good).ids).toEqual(toyText(prompt(7), GREEDY, 20));
  });

  it("knows what was answered before", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    const whole = await run(
      engine,
      request(prompt(6), { constraint: new Rising(), maxTokens: 20 }),
    );
    const answeredTokenIds = whole.ids.slice(0, 1);
    const rest = await run(
      engine,
      request(prompt(6), { constraint: new Rising(), maxTokens: 20, answeredTokenIds }),
    );
    expect([...answeredTokenIds, ...rest.ids]).toEqual(whole.ids);
    const complete = await run(
      engine,
      request(prompt(6), { constraint: new Rising(), answeredTokenIds: whole.ids }),
    );
    expect(complete.done).toMatchObject({
      finishReason: "stop",
      completionTokens: whole.ids.length,
    });
  });

  it("is held to after a pause", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime({ pageCount: 12, contextWindowSize: 40 }));
    const alone = await run(engine, request(prompt(8), { constraint: new Rising() }));
    const [, , last] = await Promise.all([
      run(engine, request(prompt(8, 1), { maxTokens: 30 })),
      run(engine, request(prompt(8, 2), { maxTokens: 30 })),
      run(engine, request(prompt(8), { constraint: new Rising() })),
    ]);
    expect(last.ids).toEqual(alone.ids);
  });
});

describe("overflow", () => {
  const limits = { contextWindowSize: 32 };

  it("is an error that names both numbers", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    await expect(run(engine, request(prompt(32)))).rejects.toMatchObject({
      code: "context-overflow",
      message: expect.stringMatching(/32 tokens.*hold 32/) as string,
    });
  });

  it("leaves out the oldest behind those that are kept", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    const long = prompt(50);
    const asked = request(long, { overflow: "truncate", keepTokens: 6, maxTokens: 99 });
    const { ids, done } = await run(engine, asked);
    // A quarter of the window is left for the answer.
    const fitted = [...long.slice(0, 6), ...long.slice(50 - 18)];
    expect(ids).toEqual(toyText(fitted, GREEDY, 9));
    expect(done).toMatchObject({ finishReason: "length", promptTokens: 50, truncatedTokens: 26 });
  });

  it("leaves room for a short answer only", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    const asked = request(prompt(50), { overflow: "truncate", maxTokens: 3 });
    const { ids, done } = await run(engine, asked);
    expect(ids).toEqual(toyText(prompt(50).slice(50 - 29), GREEDY, 3));
    expect(done.truncatedTokens).toBe(21);
  });

  it("says when the first message alone is too long", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    const asked = request(prompt(50), { overflow: "truncate", keepTokens: 30, maxTokens: 9 });
    await expect(run(engine, asked)).rejects.toMatchObject({ code: "context-overflow" });
  });

  it("forgets the older half and goes on", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    const asked = request(prompt(10), { overflow: "shift", keepTokens: 4, maxTokens: 80 });
    const { ids, done } = await run(engine, asked);
    const shift = { window: 32, keepTokens: 4 };
    expect(ids).toEqual(toyText(prompt(10), GREEDY, 80, { shift }));
    expect(done).toMatchObject({ finishReason: "length", completionTokens: 80 });
    expect(done.truncatedTokens).toBeGreaterThan(40);
  });

  it("costs nothing where all fits", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime(limits));
    const { done } = await run(engine, request(prompt(10), { overflow: "shift" }));
    expect(done).not.toHaveProperty("truncatedTokens");
  });
});

describe("drafts", () => {
  /** What repeats itself is guessed right now and then. */
  const repeating = Array.from({ length: 24 }, (_, index) => index % 6);

  it.each([GREEDY, WARM])("change no token (%o)", async (sampling) => {
    const runtime = new FakeBatchRuntime({ maxRows: 8 });
    const engine = new BatchEngine(runtime);
    const asked = request(repeating, { sampling, maxTokens: 30 });
    const { ids } = await run(engine, { ...asked, drafts: "on" });
    expect(ids).toEqual(toyText(repeating, sampling, 30));
    const steps = runtime.calls.filter(({ kind }) => kind === "step");
    expect(Math.max(...steps.map(({ size }) => size))).toBe(8);
    expect(runtime.misuses).toEqual([]);
  });

  it("save steps where guesses are right", async () => {
    const runtime = new FakeBatchRuntime({ maxRows: 8, vocabularySize: 3 });
    const { ids } = await run(
      new BatchEngine(runtime),
      request([0, 1, 2], { maxTokens: 50, drafts: "on" }),
    );
    expect(ids).toEqual(toyText([0, 1, 2], GREEDY, 50, { vocabularySize: 3 }));
    expect(runtime.calls.length).toBeLessThan(40);
  });

  it("are not made by default, and take no row that another sequence needs", async () => {
    const runtime = new FakeBatchRuntime({ maxRows: 4 });
    const engine = new BatchEngine(runtime);
    await run(engine, request(repeating, { maxTokens: 20 }));
    expect(runtime.calls.every(({ size, kind }) => kind === "prefill" || size === 1)).toBe(true);
    const all = await Promise.all(
      [1, 2, 3].map((first) => {
        const ids = repeating.map((id) => id + first);
        return run(engine, request(ids, { drafts: "on", maxTokens: 20 }));
      }),
    );
    all.forEach(({ ids }, index) => {
      const asked = repeating.map((id) => id + index + 1);
      expect(ids).toEqual(toyText(asked, GREEDY, 20));
    });
    expect(runtime.misuses).toEqual([]);
  });

  it("are tried by themselves only after plain steps were measured", async () => {
    const runtime = new FakeBatchRuntime({ maxRows: 8 });
    const engine = new BatchEngine(runtime);
    const { ids } = await run(engine, request(repeating, { drafts: "auto", maxTokens: 35 }));
    expect(ids).toEqual(toyText(repeating, GREEDY, 35));
    const [first, ...later] = runtime.calls.filter(({ kind }) => kind === "step");
    expect(first?.size).toBe(1);
    expect(Math.max(...later.map(({ size }) => size))).toBeGreaterThan(1);
  });
});

describe("pages kept beyond this visit", () => {
  class MemoryStore {
    readonly pages = new Map<string, Uint8Array>();
    readonly touched: number[] = [];
    isBroken = false;
    most = Infinity;
    load(key: string): Promise<Uint8Array | null> {
      return this.isBroken
        ? Promise.reject(new Error("disk"))
        : Promise.resolve(this.pages.get(key) ?? null);
    }
    save(key: string, bytes: Uint8Array): Promise<boolean> {
      if (this.isBroken) {
        return Promise.reject(new Error("disk"));
      }
      const hasRoom = this.pages.size < this.most;
      return Promise.resolve(hasRoom && this.pages.set(key, bytes).has(key));
    }
    touch(keys: readonly string[]): readonly string[] {
      this.touched.push(keys.length);
      return keys.filter((key) => !this.pages.has(key));
    }
  }

  async function visit(store: MemoryStore, asked: GenerateRequest, model = "sha256:a") {
    const runtime = new FakeBatchRuntime();
    const keeper = new PrefixKeeper(store, model, runtime.limits.pageSize);
    const engine = new BatchEngine(runtime, keeper);
    const ran = await run(engine, asked);
    await keeper.saving;
    return { ...ran, runtime };
  }

  it("spare the next visit the run of a long first message", async () => {
    const store = new MemoryStore();
    const first = await visit(store, request([...prompt(22), 1, 2, 3], { keepTokens: 22 }));
    expect(store.pages.size).toBe(5);
    const asked = [...prompt(22), 9, 9];
    const second = await visit(store, request(asked, { keepTokens: 22 }));
    expect(second.ids).toEqual(toyText(asked, GREEDY, 5));
    expect(second.done.cachedTokens).toBe(20);
    expect(second.runtime.prefilledTokens).toBe(4);
    expect(first.runtime.pageReads).toBe(5);
    // What is kept is not written again.
    expect(second.runtime.pageReads).toBe(0);
  });

  it("are another model's where the name differs, and none of a short prompt", async () => {
    const store = new MemoryStore();
    await visit(store, request(prompt(15)));
    expect(store.pages.size).toBe(0);
    await visit(store, request(prompt(22)));
    expect(store.pages.size).toBe(5);
    const other = await visit(store, request(prompt(22)), "sha256:b");
    expect(other.done.cachedTokens).toBe(0);
  });

  it("are nobody's trouble when the disk is gone", async () => {
    const store = new MemoryStore();
    store.isBroken = true;
    const { ids, done } = await visit(store, request(prompt(22)));
    expect(ids).toEqual(toyText(prompt(22), GREEDY, 5));
    expect(done.cachedTokens).toBe(0);
  });

  it("are used with all that is before them, whoever has those at hand", async () => {
    const store = new MemoryStore();
    const runtime = new FakeBatchRuntime();
    const keeper = new PrefixKeeper(store, "sha256:a", runtime.limits.pageSize);
    const engine = new BatchEngine(runtime, keeper);
    for (const length of [22, 30]) {
      store.touched.splice(0);
      await run(engine, request(prompt(length)));
      await keeper.saving;
      // Looked for, then written: each time from the first one on.
      expect(Math.max(...store.touched)).toBe(Math.floor(length / runtime.limits.pageSize));
    }
  });

  it("are written once more when they had to go, and not behind one that has no room", async () => {
    const store = new MemoryStore();
    const runtime = new FakeBatchRuntime();
    const keeper = new PrefixKeeper(store, "sha256:a", runtime.limits.pageSize);
    const engine = new BatchEngine(runtime, keeper);
    const ask = async () => {
      await run(engine, request(prompt(22)));
      await keeper.saving;
    };
    store.most = 2;
    await ask();
    expect(store.pages.size).toBe(2);
    expect(runtime.pageReads).toBe(3);
    store.pages.clear();
    store.most = Infinity;
    await ask();
    expect(store.pages.size).toBe(5);
  });

  it("give all pages back when they are written", async () => {
    const runtime = new FakeBatchRuntime({ pageCount: 10, contextWindowSize: 40 });
    const keeper = new PrefixKeeper(new MemoryStore(), "sha256:a", runtime.limits.pageSize);
    const engine = new BatchEngine(runtime, keeper);
    for (const first of [0, 1, 2, 3]) {
      const { ids } = await run(engine, request(prompt(36, first)));
      expect(ids).toEqual(toyText(prompt(36, first), GREEDY, 5));
    }
  });
});

describe("score", () => {
  it("gives the logits that each token was up against", async () => {
    const runtime = new FakeBatchRuntime();
    const engine = new BatchEngine(runtime);
    const text = prompt(20);
    const read: [number, Float32Array][] = [];
    const others = run(engine, request(prompt(6)));
    await engine.score(text, 10, (logits, position) => read.push([position, logits.slice()]));
    await others;
    expect(read.map(([position]) => position)).toEqual(text.slice(10).map((_, i) => 10 + i));
    for (const [position, logits] of read) {
      expect(logits).toEqual(toyLogitsOf(text.slice(0, position)));
    }
  });

  it.each([
    ["no given token", 0, [1, 2]],
    ["nothing to judge", 2, [1, 2]],
    ["more than fits", 1, prompt(64)],
  ])("refuses to read a text with %s", async (_, prefilled, tokenIds) => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    await expect(engine.score(tokenIds, prefilled, () => undefined)).rejects.toThrow(TransomError);
  });
});

describe("a failure", () => {
  it("is heard by everybody, and the next request starts from nothing", async () => {
    const runtime = new FakeBatchRuntime({ maxRows: 2 });
    const engine = new BatchEngine(runtime);
    let answers = 0;
    const error = new TransomError("gpu-error", "The GPU refused a command.");
    runtime.failure = () => (++answers === 4 ? error : null);
    const all = [0, 1, 2, 3].map((index) => run(engine, request(prompt(6, index))));
    expect(await Promise.allSettled(all)).toEqual(
      all.map(() => ({ status: "rejected", reason: error })),
    );
    const { ids, done } = await run(engine, request(prompt(9)));
    expect(ids).toEqual(toyText(prompt(9), GREEDY, 5));
    expect(done.cachedTokens).toBe(0);
    expect(runtime.misuses).toEqual([]);
  });

  it("of one listener is not the others'", async () => {
    const engine = new BatchEngine(new FakeBatchRuntime());
    const bad = engine.generate(request(prompt(5)), () => {
      throw new Error("the tab is gone");
    });
    const good = run(engine, request(prompt(6)));
    await expect(bad).rejects.toThrow("the tab is gone");
    expect((await good).ids).toEqual(toyText(prompt(6), GREEDY, 5));
  });
});
