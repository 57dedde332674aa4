/** What a token's probability was, from the logits on the CPU. Pure. */
import type { TokenLogprobs } from "../protocol.ts";

/** @param top how many of the likeliest tokens to tell. */
export function logprobsOf(logits: Float32Array, tokenId: number, top: number): TokenLogprobs {
  const largest = logits.reduce((one, other) => Math.max(one, other), -Infinity);
  const sum = logits.reduce((total, logit) => total + Math.exp(logit - largest), 0);
  const logprob = (id: number) => (logits[id] ?? -Infinity) - largest - Math.log(sum);
  const likeliest: number[] = [];
  for (let id = 0; id < logits.length; id++) {
    const isAmong = (other: number) => (logits[id] ?? 0) > (logits[other] ?? 0);
    if (likeliest.length < top || likeliest.some(isAmong)) {
      const place = likeliest.findIndex(isAmong);
      likeliest.splice(place < 0 ? likeliest.length : place, 0, id);
      likeliest.length = Math.min(likeliest.length, top);
    }
  }
  return {
    logprob: logprob(tokenId),
    top: likeliest.map((id) => ({ tokenId: id, logprob: logprob(id) })),
  };
}
