/**
 * Chooses a token from logits: greedy, or temperature and top-p with a seed. Pure.
 *
 * The same seed and logits give the same tokens on every machine: the generator is our own and
 * works on 32-bit integers only.
 */
import { TransomError } from "../errors.ts";
import type { Sampling } from "../protocol.ts";

/** Past this the distribution is as good as flat, and exponents lose their meaning. */
const MAX_TEMPERATURE = 100;

export class Sampler {
  readonly isGreedy: boolean;
  readonly #temperature: number;
  readonly #topP: number;
  readonly #random: () => number;

  /**
   * @param drawn tokens that were chosen before with this seed.
   * @throws TransomError `invalid-request` naming the value that is out of range.
   */
  constructor({ temperature, topP, seed }: Sampling, drawn = 0) {
    requireRange("temperature", temperature, 0, MAX_TEMPERATURE);
    requireRange("topP", topP, 0, 1);
    if (!Number.isSafeInteger(seed)) {
      throw new TransomError("invalid-request", `seed must be a whole number, not ${seed}.`);
    }
    this.isGreedy = temperature === 0 || topP === 0;
    this.#temperature = temperature;
    this.#topP = topP;
    this.#random = randomNumbers(seed);
    for (let token = 0; token < drawn; token++) {
      this.#random();
    }
  }

  /** The next token id. @param logits one per vocabulary entry; left as they are. */
  sample(logits: Float32Array): number {
    if (this.isGreedy) {
      return argmax(logits);
    }
    const weights = softmaxWeights(logits, this.#temperature);
    const point = this.#random();
    return this.#topP >= 1 ? pick(weights, point) : pickFromTop(weights, this.#topP, point);
  }
}

/** The index of the largest value; the first of equals, as on the GPU. */
export function argmax(values: Float32Array): number {
  let best = 0;
  let bestValue = -Infinity;
  for (let index = 0; index < values.length; index++) {
    const value = values[index] ?? -Infinity;
    if (value > bestValue) {
      best = index;
      bestValue = value;
    }
  }
  return best;
}

/** exp((x - max) / temperature): the softmax before its division, so the largest is 1. */
export function softmaxWeights(logits: Float32Array, temperature: number): Float64Array {
  const largest = logits[argmax(logits)] ?? 0;
  return Float64Array.from(logits, (logit) => Math.exp((logit - largest) / temperature));
}

/** The index under which `point` (0 to 1) of the total weight falls, in index order. */
function pick(weights: Float64Array, point: number): number {
  let left = point * sum(weights);
  let last = 0;
  for (let index = 0; index < weights.length; index++) {
    const weight = weights[index] ?? 0;
    if (weight > 0) {
      last = index;
      left -= weight;
      if (left < 0) {
        return index;
      }
    }
  }
  // Rounding left a rest: it belongs to the last index that can be drawn.
  return last;
}

/**
 * Draw from the fewest most likely tokens that together hold `topP` of the weight.
 *
 * A heap gives the tokens in order of weight one by one; with a peaked distribution a handful is
 * enough, so the vocabulary is never sorted.
 */
function pickFromTop(weights: Float64Array, topP: number, point: number): number {
  const wanted = topP * sum(weights);
  const heap = new WeightHeap(weights);
  const chosen: number[] = [];
  let held = 0;
  while (held < wanted && heap.size > 0) {
    const index = heap.pop();
    chosen.push(index);
    held += weights[index] ?? 0;
  }
  let left = point * held;
  for (const index of chosen) {
    left -= weights[index] ?? 0;
    if (left < 0) {
      return index;
    }
  }
  return chosen.at(-1) ?? argmax(Float32Array.from(weights));
}

function sum(weights: Float64Array): number {
  let total = 0;
  for (const weight of weights) {
    total += weight;
  }
  return total;
}

/** A binary heap of indices, heaviest first; of equal weights the smaller index first. */
class WeightHeap {
  readonly #weights: Float64Array;
  readonly #heap: Uint32Array;
  size: number;

  constructor(weights: Float64Array) {
    this.#weights = weights;
    this.#heap = Uint32Array.from(weights, (_, index) => index);
    this.size = weights.length;
    for (let at = Math.floor(this.size / 2) - 1; at >= 0; at--) {
      this.#sink(at);
    }
  }

  pop(): number {
    const top = this.#at(0);
    this.size--;
    this.#heap[0] = this.#at(this.size);
    this.#sink(0);
    return top;
  }

  #at(position: number): number {
    return this.#heap[position] ?? 0;
  }

  #isHeavier(left: number, right: number): boolean {
    const a = this.#weights[left] ?? 0;
    const b = this.#weights[right] ?? 0;
    return a > b || (a === b && left < right);
  }

  #sink(start: number): void {
    const moving = this.#at(start);
    let at = start;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) {
        break;
      }
      if (child + 1 < this.size && this.#isHeavier(this.#at(child + 1), this.#at(child))) {
        child++;
      }
      if (!this.#isHeavier(this.#at(child), moving)) {
        break;
      }
      this.#heap[at] = this.#at(child);
      at = child;
    }
    this.#heap[at] = moving;
  }
}

/**
 * Numbers in [0, 1) from a seed: xoshiro128** (Blackman and Vigna, 2018), its state filled by
 * splitmix32 from the seed's low and high words.
 */
export function randomNumbers(seed: number): () => number {
  const fill = splitmix32((seed ^ Math.imul(Math.floor(seed / 2 ** 32), 0x9e3779b1)) >>> 0);
  let a = fill();
  let b = fill();
  let c = fill();
  let d = fill();
  return () => {
    const result = Math.imul(rotateLeft(Math.imul(b, 5), 7), 9) >>> 0;
    const shifted = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= shifted;
    d = rotateLeft(d, 11);
    return result / 2 ** 32;
  };
}

function splitmix32(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = state ^ (state >>> 16);
    mixed = Math.imul(mixed, 0x21f0aaad);
    mixed ^= mixed >>> 15;
    mixed = Math.imul(mixed, 0x735a2d97);
    return (mixed ^ (mixed >>> 15)) >>> 0;
  };
}

function rotateLeft(value: number, bits: number): number {
  return (value << bits) | (value >>> (32 - bits));
}

function requireRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new TransomError(
      "invalid-request",
      `${name} must be between ${min} and ${max}, not ${value}.`,
    );
  }
}
