import { describe, expect, it } from "vitest";

import type { Constraint, GenerateRequest } from "../../web/src/protocol.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import { Sampler } from "../../web/src/worker/sampler.ts";
import { FakeRuntime } from "./fake-runtime.ts";

const STOP = 99;
const GREEDY = { temperature: 0, topP: 1, seed: 1 };

/** Lets the given tokens through in their order, then a stop token; may know that it is over. */
class Row implements Constraint {
  readonly accepted: number[] = [];
  readonly #tokenIds: readonly number[];
  readonly #tellsEnd: boolean;

  constructor(tokenIds: readonly number[], tellsEnd: boolean) {
    this.#tokenIds = tokenIds;
    this.#tellsEnd = tellsEnd;
  }

  nextMask(): Int32Array {
    return maskOf(this.#tokenIds[this.accepted.length] ?? STOP);
  }

  accept(tokenId: number): boolean {
    this.accepted.push(tokenId);
    return !(this.#tellsEnd && this.accepted.length === this.#tokenIds.length);
  }

  dispose(): void {
    this.accepted.length = 0;
  }
}

function maskOf(...tokenIds: number[]): Int32Array {
  const mask = new Int32Array(4);
  for (const id of tokenIds) {
    mask[id >> 5] = (mask[id >> 5] ?? 0) | (1 << (id & 31));
  }
  return mask;
}

async function said(constraint: Constraint, more: Partial<GenerateRequest> = {}) {
  const tokenIds: number[] = [];
  const done = await new Engine(new FakeRuntime()).generate(
    {
      promptTokenIds: [1],
      sampling: GREEDY,
      stopTokenIds: [STOP],
      maxTokens: 10,
      constraint,
      ...more,
    },
    (event) => tokenIds.push(event.tokenId),
  );
  return { tokenIds, done };
}

describe("Engine with a constraint", () => {
  it("says what is let through and not what is likely", async () => {
    const { tokenIds, done } = await said(new Row([7, 31, 32, 64], false));
    expect(tokenIds).toEqual([7, 31, 32, 64]);
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: STOP });
  });

  it("stops by itself where nothing but a stop token could follow", async () => {
    const { tokenIds, done } = await said(new Row([7, 31], true));
    expect(tokenIds).toEqual([7, 31]);
    expect(done).toMatchObject({ finishReason: "stop", stopTokenId: null });
  });

  it("tells it what was answered before", async () => {
    const { tokenIds } = await said(new Row([7, 31, 32], true), { answeredTokenIds: [7, 31] });
    expect(tokenIds).toEqual([32]);
    const over = await said(new Row([7, 31], true), { answeredTokenIds: [7, 31] });
    expect(over).toMatchObject({ tokenIds: [], done: { finishReason: "stop" } });
  });
});

describe("Sampler with a mask", () => {
  const logits = Float32Array.from({ length: 70 }, (_, id) => (id === 5 ? 50 : id / 10));

  it.each([0, 1, 5])("never leaves it at temperature %d", (temperature) => {
    const sampler = new Sampler({ temperature, topP: 1, seed: 3 });
    const allowed = [0, 31, 32, 63, 69];
    for (let position = 0; position < 300; position++) {
      expect(allowed).toContain(sampler.sample(logits, [], position, maskOf(...allowed)));
    }
  });

  it("keeps to it with filters and penalties", () => {
    const sampling = { temperature: 1, topP: 0.5, topK: 3, minP: 0.1, repeatPenalty: 1.5, seed: 3 };
    const sampler = new Sampler(sampling);
    for (let position = 0; position < 100; position++) {
      expect(sampler.sample(logits, [5, 40], position, maskOf(40))).toBe(40);
    }
  });

  it("lets nothing through that lies beyond its end", () => {
    const sampler = new Sampler(GREEDY);
    expect(sampler.sample(logits, [], 0, Int32Array.of(1 << 4))).toBe(4);
  });
});
