/** What a request says of sampling: defaults filled in, every value checked. Pure. */
import { TransomError } from "../errors.ts";
import type { Sampling } from "../protocol.ts";
import type { Filters } from "./candidates.ts";

/** Past this the distribution is as good as flat, and exponents lose their meaning. */
const MAX_TEMPERATURE = 100;
/** OpenAI's range, and llama.cpp's users do not leave it. */
const MAX_PENALTY = 2;
/** A logit divided by more than this is as good as none. */
const MAX_REPEAT_PENALTY = 100;
/** Ollama's and llama.cpp's. */
const REPEAT_LAST_N = 64;

export interface SamplingSettings {
  /** Of what bias, penalties and mask leave, the largest is the choice. */
  isGreedy: boolean;
  temperature: number;
  filters: Filters;
  bias: ReadonlyMap<number, number>;
  penalties: {
    isActive: boolean;
    repeat: number;
    presence: number;
    frequency: number;
    /** Tokens back from here that are penalised; Infinity: all. */
    lastN: number;
  };
}

/** @throws TransomError `invalid-request` naming the value that is out of range. */
export function readSampling(sampling: Sampling): SamplingSettings {
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
  const isNeutral = repeatPenalty === 1 && presencePenalty === 0 && frequencyPenalty === 0;
  return {
    isGreedy: temperature === 0 || topP === 0 || topK === 1,
    temperature,
    filters: { topK, typicalP, topP, minP },
    bias: new Map(Object.entries(logitBias).map(([id, bias]) => [Number(id), bias])),
    penalties: {
      isActive: !isNeutral && repeatLastN !== 0,
      repeat: repeatPenalty,
      presence: presencePenalty,
      frequency: frequencyPenalty,
      lastN: repeatLastN < 0 ? Infinity : repeatLastN,
    },
  };
}

function requireRange(name: string, value: number, min: number, max: number): void {
  if (!(value >= min && value <= max)) {
    throw new TransomError(
      "invalid-request",
      `${name} must be between ${min} and ${max}, not ${value}.`,
    );
  }
}
