/**
 * Chooses a token from logits: greedy, or by chance with a seed. Pure.
 *
 * The order is llama.cpp's: bias, penalties, filters (`candidates.ts`), temperature, chance. The same
 * seed and logits give the same tokens on every machine.
 */
import type { Sampling } from "../protocol.ts";
import { candidates } from "./candidates.ts";
import { randomNumbers } from "./random.ts";
import { type SamplingSettings, readSampling } from "./sampling-settings.ts";

export class Sampler {
  readonly isGreedy: boolean;
  readonly #settings: SamplingSettings;
  readonly #random: () => number;

  /**
   * @param drawn tokens that were chosen before with this seed.
   * @throws TransomError `invalid-request` naming the value that is out of range.
   */
  constructor(sampling: Sampling, drawn = 0) {
    this.#settings = readSampling(sampling);
    this.isGreedy = this.#settings.isGreedy;
    this.#random = randomNumbers(sampling.seed);
    for (let token = 0; token < drawn; token++) {
      this.#random();
    }
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
   */
  sample(logits: Float32Array, history: readonly number[] = []): number {
    const adjusted = this.#adjusted(logits, history);
    if (this.isGreedy) {
      return argmax(adjusted);
    }
    const passed = candidates(softmaxWeights(adjusted, 1), this.#settings.filters);
    const chosen =
      passed === null ? adjusted : Float32Array.from(passed, (id) => adjusted[id] ?? 0);
    const position = pick(softmaxWeights(chosen, this.#settings.temperature), this.#random());
    return passed === null ? position : (passed[position] ?? 0);
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
  let left = point * weights.reduce((sum, weight) => sum + weight, 0);
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
