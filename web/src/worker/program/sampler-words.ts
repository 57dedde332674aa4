/**
 * A row's way to choose as the words that the GPU's choosers read (`samplers`, docs/formats/program.md),
 * and which chooser serves it. Pure.
 */
import type { Sampling } from "../../protocol.ts";
import { readSampling } from "../sampling-settings.ts";

/** Words of a row of `samplers`. */
export const SAMPLER_WORDS = 16;
/** Biases that a row may have; OpenAI's API allows 300. */
export const MAX_BIASES = 512;
/** The most candidates that `draw_top` sorts. */
const MOST_TOP = 64;

export type Chooser = "greedy" | "draw_all" | "draw_top" | "draw_sorted";

export interface SamplerWords {
  words: Int32Array;
  biases: readonly (readonly [tokenId: number, bias: number])[];
  /** Whether logits must be adjusted before they are looked at. */
  isAdjusted: boolean;
  chooser: Chooser;
}

/** @throws TransomError `invalid-request` naming the value that is out of range. */
export function samplerWords(sampling: Sampling, isMasked: boolean): SamplerWords {
  const read = readSampling(sampling);
  const words = new Int32Array(SAMPLER_WORDS);
  const floats = new Float32Array(words.buffer);
  const { isGreedy, filters, bias, penalties } = read;
  floats[0] = isGreedy ? 1 : read.temperature;
  // A greedy row among others: of one candidate there is only one choice.
  words[1] = isGreedy ? 1 : filters.topK;
  floats[2] = filters.topP;
  floats[3] = filters.minP;
  floats[4] = filters.typicalP;
  floats[5] = penalties.repeat;
  floats[6] = penalties.presence;
  floats[7] = penalties.frequency;
  words[8] = Number.isFinite(penalties.lastN) ? penalties.lastN : -1;
  words[9] = sampling.seed | 0;
  words[10] = Math.floor(sampling.seed / 2 ** 32) | 0;
  words[11] = bias.size;
  words[12] = isMasked ? 1 : 0;
  const { topK, topP, minP, typicalP } = filters;
  const isFree = topK === 0 && topP >= 1 && minP <= 0 && typicalP >= 1;
  const sorted = topK > 0 && topK <= MOST_TOP ? "draw_top" : "draw_sorted";
  return {
    words,
    biases: [...bias],
    isAdjusted: bias.size > 0 || penalties.isActive || isMasked,
    chooser: isGreedy ? "greedy" : isFree ? "draw_all" : sorted,
  };
}
