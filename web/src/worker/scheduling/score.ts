/** Reading a text whose every token is known, with the GPU for itself. */
import { TransomError } from "../../errors.ts";
import type { BatchRuntime, RowChoice } from "../runtime.ts";
import type { KvMemory } from "./kv-memory.ts";

/** What the steps choose is nobody's: the next token is known. */
const GREEDY: RowChoice = {
  sampling: { temperature: 0, topP: 1, seed: 0 },
  nextMask: null,
  topLogprobs: null,
};

export async function scoreText(
  runtime: BatchRuntime,
  memory: KvMemory,
  tokenIds: readonly number[],
  prefilled: number,
  onLogits: (logits: Float32Array, position: number) => void,
): Promise<void> {
  // Nothing that others left behind, so that the figures are the same each time.
  const seat = memory.sit(tokenIds, { isFresh: true });
  if (seat === null) {
    throw new TransomError("internal", "The KV cache has no room for the text.");
  }
  const { slot } = seat;
  try {
    const { prefillChunkSize } = runtime.limits;
    for (let start = 0; start < prefilled; start += prefillChunkSize) {
      const end = Math.min(prefilled, start + prefillChunkSize);
      runtime.prefill(slot, start, tokenIds.slice(start, end));
      await runtime.settle();
    }
    onLogits(await runtime.readLogits(0), prefilled);
    for (let position = prefilled; position + 1 < tokenIds.length; position++) {
      const row = { slot, position, tokenId: tokenIds[position] ?? 0, choice: GREEDY };
      const [, logits] = await Promise.all([runtime.step([row], 1), runtime.readLogits(0)]);
      onLogits(logits, position + 1);
    }
  } finally {
    memory.leave(seat);
  }
}
