/**
 * Chooses a token from logits: greedy, or by chance with a seed. Pure.
 *
 * The order is llama.cpp's: bias, penalties, filters (`candidates.ts`), temperature, chance. The same
 * seed and logits give the same tokens on every machine.
 */
import { TransomError } from "../errors.ts";
import type { Sampling } from "../protocol.ts";
import { type Filters, candidates } from "./candidates.ts";
import { randomNumbers } from "./random.ts";

/** Past this the distribution is as good as flat, and exponents lose their meaning. */
const MAX_TEMPERATURE = 100;
/** OpenAI's range, and llama.cpp's users do not leave it. */
const MAX_PENALTY = 2;
/** A logit divided by more than this is as good as none. */
const MAX_REPEAT_PENALTY = 100;
/** Ollama's and llama.cpp's. */
const REPEAT_LAST_N = 64;

export class Sampler {
  readonly isGreedy: boolean;
  readonly #temperature: number;
  readonly #filters: Filters;
  readonly #bias: ReadonlyMap<number, number>;
  readonly #repeat: number;
  readonly #presence: number;
  readonly #frequency: number;
  /** Tokens back from here that are penalised; Infinity: all. */
  readonly #lastN: number;
  readonly #random: () => number;

  /**
   * @param drawn tokens that were chosen before with this seed.
   * @throws TransomError `invalid-request` naming the value that is out of range.
   */
  constructor(sampling: Sampling, drawn = 0) {
    const { temperature, topP, seed } = sampling;
    const { topK = 0, typicalP = 1, minP = 0 } = sampling;
    const { repeatPenalty = 1, presencePenalty = 0, frequencyPenalty = 0 } = sampling;
    const { repeatLastN = REPEAT_LAST_N, logitBias = {} } = sampling;
    requireRange("temperature", temperature, 0, MAX_TEMPERATURE);
    requireRange("topP", topP, 0, 1);
    requireRange("typicalP", typicalP, 0, 1);
    requireRange("minP", minP, 0, 1);
    requireRange("repeatPenalty", repeatPenalty, 1 / MAX_REPEAT_PENALTY, MAX_REPEAT_PENALTY);
    requireRange("presencePenalty", presencePenalty, -MAX_PENALTY, MAX_PENALTY);
    requireRange("frequencyPenalty", frequencyPenalty, -MAX_PENALTY, MAX_PENALTY);
    for (const [name, value] of Object.entries({ seed, topK, repeatLastN })) {
      if (!Number.isSafeInteger(value)) {
        throw new TransomError("invalid-request", `${name} must be a whole number, not ${value}.`);
      }
    }
    this.isGreedy = temperature === 0 || topP === 0 || topK === 1;
    this.#temperature = temperature;
    this.#filters = { topK, typicalP, topP, minP };
    this.#bias = new Map(Object.entries(logitBias).map(([id, bias]) => [Number(id), bias]));
    this.#repeat = repeatPenalty;
    this.#presence = presencePenalty;
    this.#frequency = frequencyPenalty;
    this.#lastN = repeatLastN < 0 ? Infinity : repeatLastN;
    this.#random = randomNumbers(seed);
    for (let token = 0; token < drawn; token++) {
      this.#random();
    }
  }

  /** Whether the largest logit, as the model gave it, is the choice: then they need not be read. */
  get takesLargest(): boolean {
    return this.isGreedy && this.#bias.size === 0 && !this.#penalises;
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
    const passed = candidates(softmaxWeights(adjusted, 1), this.#filters);
    const chosen =
      passed === null ? adjusted : Float32Array.from(passed, (id) => adjusted[id] ?? 0);
    const position = pick(softmaxWeights(chosen, this.#temperature), this.#random());
    return passed === null ? position : (passed[position] ?? 0);
  }

  get #penalises(): boolean {
    const isNeutral = this.#repeat === 1 && this.#presence === 0 && this.#frequency === 0;
    return !isNeutral && this.#lastN > 0;
  }

  #adjusted(logits: Float32Array, history: readonly number[]): Float32Array {
    if (this.#bias.size === 0 && !this.#penalises) {
      return logits;
    }
    const adjusted = logits.slice();
    for (const [id, bias] of this.#bias) {
      if (id < adjusted.length) {
        adjusted[id] = (adjusted[id] ?? 0) + bias;
      }
    }
    if (this.#penalises) {
      const counts = new Map<number, number>();
      for (const id of history.slice(Math.max(0, history.length - this.#lastN))) {
        counts.set(id, (counts.get(id) ?? 0) + 1);
      }
      for (const [id, count] of counts) {
        const logit = adjusted[id] ?? 0;
        // A logit below zero is made smaller by multiplying.
        const repeated = logit <= 0 ? logit * this.#repeat : logit / this.#repeat;
        adjusted[id] = repeated - count * this.#frequency - this.#presence;
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

function requireRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new TransomError(
      "invalid-request",
      `${name} must be between ${min} and ${max}, not ${value}.`,
    );
  }
}
