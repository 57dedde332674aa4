/** What a request must be before an engine takes it on. Pure. */
import { TransomError } from "../errors.ts";
import type { GenerateRequest } from "../protocol.ts";
import { MAX_BIASES } from "./program/sampler-words.ts";
import { readSampling } from "./sampling-settings.ts";

/** OpenAI's and the GPU's (`ranked`). */
const MAX_TOP_LOGPROBS = 20;

/** @throws TransomError `invalid-request` naming what is wrong. */
export function checkRequest(request: GenerateRequest): void {
  const { promptTokenIds, maxTokens, sampling, topLogprobs = 0, keepTokens = 0 } = request;
  if (promptTokenIds.length === 0) {
    throw new TransomError("invalid-request", "The prompt is empty.");
  }
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new TransomError("invalid-request", `maxTokens must be 1 or more, not ${maxTokens}.`);
  }
  requireWhole("topLogprobs", topLogprobs, MAX_TOP_LOGPROBS);
  requireWhole("keepTokens", keepTokens, promptTokenIds.length);
  readSampling(sampling);
  requireWhole("The number of biases", Object.keys(sampling.logitBias ?? {}).length, MAX_BIASES);
}

/** Of a text to be read, some tokens are given and some are judged. */
export function checkPrefilled(tokens: number, prefilled: number): void {
  if (!Number.isSafeInteger(prefilled) || prefilled < 1 || prefilled >= tokens) {
    throw new TransomError(
      "invalid-request",
      `Of ${tokens} tokens, ${prefilled} cannot be the given ones.`,
    );
  }
}

function requireWhole(name: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new TransomError(
      "invalid-request",
      `${name} must be a whole number from 0 to ${max}, not ${value}.`,
    );
  }
}
