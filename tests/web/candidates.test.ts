import { describe, expect, it } from "vitest";

import { type Filters, candidates } from "../../web/src/worker/candidates.ts";
import { randomNumbers } from "./random-numbers.ts";

const OFF: Filters = { topK: 0, typicalP: 1, topP: 1, minP: 0 };

/** llama.cpp's filters written down one after the other, on a list that is sorted each time. */
function reference(weights: Float64Array, { topK, typicalP, topP, minP }: Filters): number[] {
  const weightOf = (id: number) => weights[id] ?? 0;
  const total = (ids: number[]) => ids.reduce((sum, id) => sum + weightOf(id), 0);
  const byWeight = (ids: number[]) => ids.toSorted((a, b) => weightOf(b) - weightOf(a) || a - b);
  const until = (ids: number[], share: number, all: number) => {
    let held = 0;
    const end = ids.findIndex((id) => (held += weightOf(id)) >= share * all);
    return end < 0 ? ids : ids.slice(0, end + 1);
  };
  let ids = byWeight([...weights.keys()]);
  if (topK > 0) {
    ids = ids.slice(0, topK);
  }
  if (typicalP < 1) {
    const all = total(ids);
    const share = (id: number) => weightOf(id) / all;
    const entropy = ids.reduce((sum, id) => sum - share(id) * Math.log(share(id)), 0);
    const far = (id: number) => Math.abs(-Math.log(share(id)) - entropy);
    ids = byWeight(
      until(
        ids.toSorted((a, b) => far(a) - far(b)),
        typicalP,
        all,
      ),
    );
  }
  if (topP < 1) {
    ids = until(ids, topP, total(ids));
  }
  const largest = weightOf(ids[0] ?? 0);
  return ids.filter((id, position) => position === 0 || weightOf(id) >= minP * largest);
}

function randomWeights(seed: number, size: number): Float64Array {
  const next = randomNumbers(seed);
  const logits = Float64Array.from({ length: size }, () => next() * 8 - 8);
  const largest = Math.max(...logits);
  return logits.map((logit) => Math.exp(logit - largest));
}

describe("candidates", () => {
  it("lets all pass when nothing filters", () => {
    expect(candidates(randomWeights(1, 9), OFF)).toBeNull();
    expect(candidates(randomWeights(1, 9), { ...OFF, topK: 9 })).toBeNull();
  });

  it.each<[string, Partial<Filters>, number[]]>([
    ["top-k", { topK: 2 }, [1, 0]],
    ["top-p", { topP: 0.7 }, [1, 0]],
    ["top-p up to the byte", { topP: 0.51 }, [1, 0]],
    ["min-p", { minP: 0.4 }, [1, 0, 2]],
    ["min-p that only the likeliest has", { minP: 1 }, [1]],
    ["top-p of what top-k has left", { topK: 2, topP: 0.6 }, [1]],
  ])("%s", (_, filters, expected) => {
    // 0.25, 0.5, 0.2, 0.05
    const weights = Float64Array.of(0.5, 1, 0.4, 0.1);
    expect(candidates(weights, { ...OFF, ...filters })).toEqual(expected);
  });

  it("leaves one, whatever is asked", () => {
    const filters = { topK: 1, typicalP: 0, topP: 0, minP: 1 };
    expect(candidates(Float64Array.of(0.5, 1, 0.4), filters)).toHaveLength(1);
  });

  it("typical sampling may leave out the likeliest", () => {
    // One at 0.4 beside 60 at 0.01: most of the surprise is with the many.
    const weights = Float64Array.of(1, ...new Array<number>(60).fill(0.025));
    expect(candidates(weights, { ...OFF, typicalP: 0.3 })).not.toContain(0);
  });

  it("does what the filters do one after the other", () => {
    const next = randomNumbers(99);
    for (let seed = 0; seed < 300; seed++) {
      const filters: Filters = {
        topK: next() < 0.5 ? 0 : 1 + Math.floor(next() * 40),
        typicalP: next() < 0.5 ? 1 : next(),
        topP: next() < 0.3 ? 1 : next(),
        minP: next() < 0.5 ? 0 : next() * 0.3,
      };
      const weights = randomWeights(seed, 5 + Math.floor(next() * 200));
      const all = reference(weights, filters);
      expect(candidates(weights, filters) ?? all).toEqual(all);
    }
  });
});
