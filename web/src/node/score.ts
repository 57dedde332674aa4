/**
 * Teacher-forced reading: what a model thought of each token of a text that is known.
 *
 * Knows token ids and logits; files, arguments and printing are generate.ts's.
 */
import { TransomError } from "../errors.ts";
import type { ChatModel } from "../worker/chat-model.ts";

/** One row of the `--score` file. */
export interface Passage {
  /** The tokens to read; `prefilled` of them (default 1) are given at once and not judged. */
  tokenIds: number[];
  prefilled: number;
  /** A text whose own tokens are wanted too; it need not be the one that is read. */
  text: string | null;
}

export interface Score {
  passageTokenIds: number[];
  /** The text by the model's own tokenizer, or null where none was given. */
  textTokenIds: number[] | null;
  /** Natural logarithm of each judged token's probability. */
  logProbabilities: number[];
  /** The most likely token at each judged position. */
  bestTokenIds: number[];
}

/** @throws TransomError `invalid-request` naming the file. */
export function parsePassages(path: string, json: unknown): Passage[] {
  const rows: unknown[] = Array.isArray(json) ? json : [null];
  return rows.map((row) => {
    const { tokenIds, prefilled = 1, text = null } = (row ?? {}) as Partial<Passage>;
    const isPassage =
      Array.isArray(tokenIds) &&
      tokenIds.every((id) => Number.isSafeInteger(id)) &&
      Number.isSafeInteger(prefilled) &&
      (text === null || typeof text === "string");
    if (!isPassage) {
      throw new TransomError(
        "invalid-request",
        `${path} must be a list of passages: {"tokenIds": […], "prefilled"?: 1, "text"?: "…"}.`,
      );
    }
    return { tokenIds, prefilled, text };
  });
}

/** @param onLogits called with the logits of each judged position, in order. */
export async function scorePassage(
  model: ChatModel,
  { tokenIds, prefilled, text }: Passage,
  onLogits: (logits: Float32Array) => void,
): Promise<Score> {
  const logProbabilities: number[] = [];
  const bestTokenIds: number[] = [];
  await model.score(tokenIds, prefilled, (logits, position) => {
    const best = indexOfLargest(logits);
    const target = tokenIds[position] ?? 0;
    logProbabilities.push((logits[target] ?? NaN) - logSumOfExponentials(logits, best));
    bestTokenIds.push(best);
    onLogits(logits);
  });
  return {
    passageTokenIds: tokenIds,
    textTokenIds: text === null ? null : await model.encodeText(text),
    logProbabilities,
    bestTokenIds,
  };
}

function indexOfLargest(logits: Float32Array): number {
  let best = 0;
  logits.forEach((logit, index) => {
    if (logit > (logits[best] ?? -Infinity)) {
      best = index;
    }
  });
  return best;
}

/** In double precision: the sum of a large vocabulary is no place for f32. */
function logSumOfExponentials(logits: Float32Array, best: number): number {
  const largest = logits[best] ?? 0;
  let sum = 0;
  for (const logit of logits) {
    sum += Math.exp(logit - largest);
  }
  return largest + Math.log(sum);
}
