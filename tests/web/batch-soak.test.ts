/** Hundreds of requests at random: every text is what it would be alone, and all pages come back. */
import { expect, it } from "vitest";

import { TransomError } from "../../web/src/errors.ts";
import type { Done, GenerateRequest } from "../../web/src/protocol.ts";
import { BatchEngine } from "../../web/src/worker/scheduling/batch-engine.ts";
import { PrefixKeeper, type PrefixStore } from "../../web/src/worker/scheduling/prefix-store.ts";
import { FakeBatchRuntime, toyText } from "./fake-batch-runtime.ts";
import { randomNumbers } from "./random-numbers.ts";

const VOCABULARY = 24;
const BROKEN = new TransomError("gpu-error", "The GPU refused a command.");

interface Wish {
  request: GenerateRequest;
  /** Abort after so many tokens, or so many waits from the call; null: never. */
  abortAfterTokens: number | null;
  abortAfterWaits: number | null;
}

it.each([
  { seed: 1, failures: 0, pageCount: 10, slots: 6, maxRows: 4 },
  { seed: 2, failures: 0, pageCount: 11, slots: 4, maxRows: 4 },
  { seed: 3, failures: 0, pageCount: 24, slots: 8, maxRows: 8 },
  { seed: 4, failures: 0, pageCount: 64, slots: 16, maxRows: 8 },
  { seed: 5, failures: 0, pageCount: 10, slots: 2, maxRows: 8 },
  { seed: 6, failures: 0.02, pageCount: 14, slots: 8, maxRows: 8 },
])("says what it should under any load (%o)", async ({ seed, failures, ...limits }) => {
  const random = randomNumbers(seed);
  const upTo = (most: number) => Math.floor(random() * most);
  const runtime = new FakeBatchRuntime({
    ...limits,
    contextWindowSize: 40,
    prefillChunkSize: 6,
    vocabularySize: VOCABULARY,
  });
  runtime.failure = () => (random() < failures ? BROKEN : null);
  runtime.delay = async () => {
    for (let turns = upTo(3); turns > 0; turns--) {
      await nextTurn();
    }
  };
  const pages = new Map<string, Uint8Array>();
  const store: PrefixStore = {
    load: async (key) => {
      await runtime.delay();
      return pages.get(key) ?? null;
    },
    save: async (key, bytes) => {
      await runtime.delay();
      pages.set(key, bytes);
      return true;
    },
    touch: (keys) => keys.filter((key) => !pages.has(key)),
  };
  const prefixes = new PrefixKeeper(store, "sha256:a", runtime.limits.pageSize);
  const engine = new BatchEngine(runtime, prefixes);
  const running: Promise<void>[] = [];
  for (let index = 0; index < 150; index++) {
    running.push(check(engine, makeWish(upTo)));
    for (let turns = upTo(12); turns > 0; turns--) {
      await nextTurn();
    }
  }
  await Promise.all(running);
  runtime.failure = () => null;
  await prefixes.saving;
  expect(runtime.misuses).toEqual([]);
  expect(runtime.pagesInTables).toBe(0);
  // Whoever is alone can have every page: none was lost.
  const room = Math.min(40, limits.pageCount * runtime.limits.pageSize);
  const { done } = await say(engine, {
    request: {
      promptTokenIds: [1],
      sampling: { temperature: 0, topP: 1, seed: 0 },
      stopTokenIds: [],
      maxTokens: 99,
    },
    abortAfterTokens: null,
    abortAfterWaits: null,
  });
  expect(done).toMatchObject({ finishReason: "length", completionTokens: room });
});

/** Prompts with many equal beginnings. */
function makeWish(upTo: (most: number) => number): Wish {
  const family = upTo(3);
  const common = Array.from({ length: upTo(24) }, (_, index) => (family * 5 + index) % VOCABULARY);
  const own = Array.from({ length: 1 + upTo(10) }, () => upTo(VOCABULARY));
  const isWarm = upTo(2) === 0;
  const aborts = upTo(4);
  return {
    request: {
      promptTokenIds: [...common, ...own],
      sampling: {
        temperature: isWarm ? 0.8 : 0,
        topP: 1,
        seed: upTo(5),
        ...(upTo(4) === 0 ? { presencePenalty: 1 } : {}),
      },
      stopTokenIds: upTo(2) === 0 ? [upTo(VOCABULARY)] : [],
      maxTokens: 1 + upTo(30),
      ...(upTo(5) === 0 ? { topLogprobs: 3 } : {}),
      ...(upTo(3) === 0 ? { drafts: "on" } : {}),
      ...(upTo(4) === 0 ? { overflow: "shift", keepTokens: upTo(common.length) } : {}),
    },
    abortAfterTokens: aborts === 0 ? 1 + upTo(8) : null,
    abortAfterWaits: aborts === 1 ? upTo(30) : null,
  };
}

async function check(engine: BatchEngine, wish: Wish): Promise<void> {
  const { promptTokenIds, sampling, maxTokens, stopTokenIds } = wish.request;
  const said = await say(engine, wish).catch((error: unknown) => {
    expect(error).toBe(BROKEN);
    return null;
  });
  if (said === null) {
    return;
  }
  const { ids, done } = said;
  const window = engine.contextWindowSize;
  const room = window + 1 - promptTokenIds.length;
  const shift = { window, keepTokens: wish.request.keepTokens ?? 0 };
  const isShifted = wish.request.overflow === "shift";
  const whole = toyText(
    promptTokenIds,
    sampling,
    isShifted ? maxTokens : Math.min(maxTokens, room),
    {
      vocabularySize: VOCABULARY,
      stopTokenIds,
      ...(isShifted ? { shift } : {}),
    },
  );
  if (done.finishReason === "abort") {
    expect(ids).toEqual(whole.slice(0, ids.length));
    expect(wish.abortAfterTokens ?? wish.abortAfterWaits).not.toBeNull();
  } else {
    expect(ids).toEqual(whole);
    expect(done.finishReason).toBe(done.stopTokenId === null ? "length" : "stop");
  }
  expect(done.completionTokens).toBe(ids.length);
}

async function say(
  engine: BatchEngine,
  { request, abortAfterTokens, abortAfterWaits }: Wish,
): Promise<{ ids: number[]; done: Done }> {
  const controller = new AbortController();
  const ids: number[] = [];
  const saying = engine.generate(
    request,
    ({ tokenId }) => {
      expect(controller.signal.aborted).toBe(false);
      ids.push(tokenId);
      if (ids.length === abortAfterTokens) {
        controller.abort();
      }
    },
    controller.signal,
  );
  // Heard of at the end.
  saying.catch(() => undefined);
  for (let turns = abortAfterWaits ?? 0; turns > 0; turns--) {
    await nextTurn();
  }
  if (abortAfterWaits !== null) {
    controller.abort();
  }
  return { ids, done: await saying };
}

function nextTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
