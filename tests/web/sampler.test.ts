import { describe, expect, it } from "vitest";

import { Sampler, argmax, softmaxWeights } from "../../web/src/worker/sampler.ts";
import { randomNumbers } from "./random-numbers.ts";

/** Logits whose softmax is exactly these probabilities. */
function logitsOf(...probabilities: number[]): Float32Array {
  return Float32Array.from(probabilities, (p) => Math.log(p));
}

/** Tokens at the positions from `first` on. */
function draws(sampler: Sampler, logits: Float32Array, count: number, first = 0): number[] {
  return Array.from({ length: count }, (_, index) => sampler.sample(logits, [], first + index));
}

function shares(ids: readonly number[], size: number): number[] {
  const counts = new Array<number>(size).fill(0);
  for (const id of ids) {
    counts[id] = (counts[id] ?? 0) + 1;
  }
  return counts.map((count) => count / ids.length);
}

describe("argmax", () => {
  it("takes the largest, and the first of equals", () => {
    expect(argmax(Float32Array.of(-3, 2, 5, 5, 1))).toBe(2);
  });

  it("passes by NaN", () => {
    expect(argmax(Float32Array.of(Number.NaN, -7, Number.NaN))).toBe(1);
  });

  it("works where all are -Infinity but one", () => {
    expect(argmax(Float32Array.of(-Infinity, -Infinity, -1e30))).toBe(2);
  });
});

describe("softmaxWeights", () => {
  it("is the softmax before its division", () => {
    const weights = softmaxWeights(Float32Array.of(0, 2, 1));
    expect(weights[1]).toBe(1);
    expect(weights[0]).toBeCloseTo(Math.exp(-2), 12);
    expect(weights[2]).toBeCloseTo(Math.exp(-1), 12);
  });

  it("does not overflow", () => {
    expect([...softmaxWeights(Float32Array.of(1e4, -1e4))]).toEqual([1, 0]);
  });
});

describe("Sampler", () => {
  it("is greedy at temperature 0 and at top-p 0", () => {
    for (const sampling of [
      { temperature: 0, topP: 1, seed: 1 },
      { temperature: 1, topP: 0, seed: 1 },
    ]) {
      const sampler = new Sampler(sampling);
      expect(sampler.isGreedy).toBe(true);
      expect(draws(sampler, logitsOf(0.2, 0.5, 0.3), 5)).toEqual([1, 1, 1, 1, 1]);
    }
  });

  // Noise of seed 42 for tokens 0 to 3, by an independent Python version, at positions 4 to 7:
  //    1.091  1.160 -1.138 -0.862
  //    5.279  0.704  1.113 -0.170
  //    0.367 -0.434  1.986  0.937
  //   -0.390  0.653 -0.327  0.000
  it("draws by hand: the largest logit and noise", () => {
    // Logits -2.303, -2.303, -0.357, -2.303.
    const sampler = new Sampler({ temperature: 1, topP: 1, seed: 42 });
    expect(draws(sampler, logitsOf(0.1, 0.1, 0.7, 0.1), 4, 4)).toEqual([1, 0, 2, 2]);
  });

  it("draws by hand under top-p: the likely only", () => {
    // Half the weight: 0.4 (token 2) is not enough, with 0.3 (token 0) it is 0.7.
    // Without the filter it is token 1 at position 7: -1.609 + 0.653 against -0.916 - 0.327.
    const logits = logitsOf(0.3, 0.2, 0.4, 0.1);
    const all = new Sampler({ temperature: 1, topP: 1, seed: 42 });
    expect(draws(all, logits, 4, 4)).toEqual([0, 0, 2, 1]);
    const sampler = new Sampler({ temperature: 1, topP: 0.5, seed: 42 });
    expect(draws(sampler, logits, 4, 4)).toEqual([0, 0, 2, 2]);
  });

  it("takes the length of the history for the position", () => {
    const sampler = new Sampler({ temperature: 1, topP: 1, seed: 42 });
    const logits = logitsOf(0.1, 0.1, 0.7, 0.1);
    const said = [9, 9, 9, 9];
    expect(sampler.sample(logits, said)).toBe(sampler.sample(logits, [], 4));
    expect(sampler.sample(logits, [...said, 9])).toBe(sampler.sample(logits, [], 5));
  });

  it("repeats itself with the same seed only", () => {
    const logits = logitsOf(0.25, 0.25, 0.25, 0.25);
    const run = (seed: number) =>
      draws(new Sampler({ temperature: 1, topP: 1, seed }), logits, 50).join("");
    expect(run(7)).toBe(run(7));
    expect(run(7)).not.toBe(run(8));
  });

  it("draws in proportion", () => {
    const sampler = new Sampler({ temperature: 1, topP: 1, seed: 3 });
    const found = shares(draws(sampler, logitsOf(0.5, 0.3, 0.2), 20_000), 3);
    expect(found[0]).toBeCloseTo(0.5, 1);
    expect(found[1]).toBeCloseTo(0.3, 1);
    expect(found[2]).toBeCloseTo(0.2, 1);
  });

  it("flattens with a high temperature", () => {
    // At temperature 2 the probabilities go with their square roots: 0.64 : 0.16 becomes 2 : 1.
    const sampler = new Sampler({ temperature: 2, topP: 1, seed: 3 });
    const found = shares(draws(sampler, logitsOf(0.8, 0.2), 20_000), 2);
    expect(found[0]).toBeCloseTo(2 / 3, 1);
  });

  it("finds the nucleus of a large vocabulary like a full sort does", () => {
    const next = randomNumbers(5);
    const logits = Float32Array.from({ length: 5000 }, () => next() * 12);
    const weights = softmaxWeights(logits);
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    const order = [...weights.keys()].sort((a, b) => (weights[b] ?? 0) - (weights[a] ?? 0));
    const nucleus = new Set<number>();
    let held = 0;
    for (const id of order) {
      if (held >= 0.9 * total) {
        break;
      }
      nucleus.add(id);
      held += weights[id] ?? 0;
    }
    const sampler = new Sampler({ temperature: 1, topP: 0.9, seed: 11 });
    const drawn = new Set(draws(sampler, logits, 200));
    expect([...drawn].every((id) => nucleus.has(id))).toBe(true);
  });

  it("applies the temperature after the filters, as llama.cpp does", () => {
    // At temperature 1 the first two hold 0.8; heated before, four would be needed.
    const sampler = new Sampler({ temperature: 100, topP: 0.8, seed: 1 });
    const drawn = new Set(draws(sampler, logitsOf(0.5, 0.3, 0.1, 0.1), 200));
    expect(drawn).toEqual(new Set([0, 1]));
  });

  it("makes what was said less likely, by how often", () => {
    const logits = Float32Array.of(2, -2, 2, 0);
    const next = (sampling: object, history: number[]) =>
      new Sampler({ temperature: 0, topP: 1, seed: 1, ...sampling }).sample(logits, history);
    expect(next({}, [0])).toBe(0);
    expect(next({ repeatPenalty: 1.1 }, [0])).toBe(2);
    expect(next({ presencePenalty: 0.1 }, [0, 2, 2])).toBe(0);
    expect(next({ frequencyPenalty: 0.1 }, [0, 0, 2])).toBe(2);
    // A negative logit goes down, too; negative penalties make it likelier.
    const below = new Sampler({ temperature: 0, topP: 1, seed: 1, repeatPenalty: 4 });
    expect(below.sample(Float32Array.of(-1, -2), [0])).toBe(1);
    expect(next({ presencePenalty: -2 }, [3])).toBe(0);
    expect(next({ frequencyPenalty: -2 }, [3, 3])).toBe(3);
  });

  it("looks back as far as it is told", () => {
    const logits = Float32Array.of(2, 1);
    const history = [0, ...new Array<number>(64).fill(5)];
    const next = (sampling: object) =>
      new Sampler({ temperature: 0, topP: 1, seed: 1, repeatPenalty: 4, ...sampling }).sample(
        logits,
        history,
      );
    expect(next({})).toBe(0);
    expect(next({ repeatLastN: 65 })).toBe(1);
    expect(next({ repeatLastN: -1 })).toBe(1);
    expect(next({ repeatLastN: 0 })).toBe(0);
  });

  it("adds a bias, forbids, and then has to read logits when it is greedy, too", () => {
    const sampler = new Sampler({
      temperature: 0,
      topP: 1,
      seed: 1,
      logitBias: { 0: -Infinity, 2: 5, 999: 1 },
    });
    expect(sampler.takesLargest).toBe(false);
    expect(sampler.sample(Float32Array.of(9, 1, 0))).toBe(2);
    expect(new Sampler({ temperature: 0, topP: 1, seed: 1 }).takesLargest).toBe(true);
    expect(new Sampler({ temperature: 1, topP: 1, seed: 1, topK: 1 }).takesLargest).toBe(true);
    const off = { presencePenalty: 1, repeatLastN: 0 };
    expect(new Sampler({ temperature: 0, topP: 1, seed: 1, ...off }).takesLargest).toBe(true);
  });

  it("leaves the logits as they are", () => {
    const logits = logitsOf(0.5, 0.5);
    const before = logits.slice();
    new Sampler({ temperature: 0.7, topP: 0.9, seed: 1 }).sample(logits);
    expect(logits).toEqual(before);
  });

  it.each([
    [{ temperature: -0.1, topP: 1, seed: 1 }, /temperature must be between 0 and 100/],
    [{ temperature: Number.NaN, topP: 1, seed: 1 }, /temperature must be/],
    [{ temperature: 1, topP: 1.01, seed: 1 }, /topP must be between 0 and 1/],
    [{ temperature: 1, topP: 1, seed: 0.5 }, /seed must be a whole number/],
  ])("refuses %o", (sampling, message) => {
    expect(() => new Sampler(sampling)).toThrow(message);
  });
});
