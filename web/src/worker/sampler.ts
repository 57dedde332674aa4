/**
 * Chooses a token from logits: greedy, or by chance with a seed. Pure.
 *
 * The order is llama.cpp's: bias, penalties, filters (`candidates.ts`), temperature, chance. The same
 * seed, position and logits give the same token on every machine, and in a program on the GPU.
 */
import type { Sampling } from "../protocol.ts";
import { candidates } from "./candidates.ts";
import { gumbelNoise } from "./random.ts";
import { type SamplingSettings, readSampling } from "./sampling-settings.ts";

export class Sampler {
  readonly isGreedy: boolean;
  readonly #settings: SamplingSettings;
  readonly #seed: number;

  /** @throws TransomError `invalid-request` naming the value that is out of range. */
  constructor(sampling: Sampling) {
    this.#settings = readSampling(sampling);
    this.isGreedy = this.#settings.isGreedy;
    this.#seed = sampling.seed;
  }

  /** Whether the largest logit, as the model gave it, is the choice: then they need not be read. */
  get takesLargest(): boolean {
    const { bias, penalties } = this.#settings;
    return this.isGreedy && bias.size === 0 && !penalties.isActive;
  }

  /**
   * The next token id.
   *
   * @param logits one per vocabulary entry; left as they are.
   * @param history all tokens before it, the prompt's too; the last ones may be penalised.
   * @param position of the token in its sequence: each has its own random numbers.
   * @param mask bit i of word i >> 5: token i may be chosen. Null: all may.
   */
  sample(
    logits: Float32Array,
    history: readonly number[] = [],
    position = history.length,
    mask: Int32Array | null = null,
  ): number {
    const adjusted = masked(this.#adjusted(logits, history), mask);
    if (this.isGreedy) {
      return argmax(adjusted);
    }
    const { filters, temperature } = this.#settings;
    const passed = candidates(softmaxWeights(adjusted), filters) ?? adjusted.keys();
    const noise = gumbelNoise(this.#seed, position);
    let best = 0;
    let most = -Infinity;
    for (const id of passed) {
      const value = (adjusted[id] ?? 0) / temperature + noise(id);
      if (value > most) {
        best = id;
        most = value;
      }
    }
    return best;
  }

  #adjusted(logits: Float32Array, history: readonly number[]): Float32Array {
    const { bias, penalties } = this.#settings;
    if (bias.size === 0 && !penalties.isActive) {
      return logits;
    }
    const adjusted = logits.slice();
    for (const [id, added] of bias) {
      if (id < adjusted.length) {
        adjusted[id] = (adjusted[id] ?? 0) + added;
      }
    }
    if (penalties.isActive) {
      const counts = new Map<number, number>();
      for (const id of history.slice(Math.max(0, history.length - penalties.lastN))) {
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      for (const [id, count] of counts) {
        const logit = adjusted[id] ?? 0;
        // A logit below zero is made smaller by multiplying.
        const repeated = logit <= 0 ? logit * penalties.repeat : logit / penalties.repeat;
        adjusted[id] = repeated - count * penalties.frequency - penalties.presence;
      }
    }
    return adjusted;
  }
}

/** A copy in which tokens that may not be chosen never are. */
function masked(logits: Float32Array, mask: Int32Array | null): Float32Array {
  return mask === null
    ? logits
    : logits.map((logit, id) => (((mask[id >> 5] ?? 0) >>> (id & 31)) & 1 ? logit : -Infinity));
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

/** exp(x - max): the softmax before its division, so the largest is 1. */
export function softmaxWeights(logits: Float32Array): Float64Array {
  const largest = logits[argmax(logits)] ?? 0;
  return Float64Array.from(logits, (logit) => Math.exp(logit - largest));
}
