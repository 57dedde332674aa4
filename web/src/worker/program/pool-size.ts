/** How many tokens the KV cache of a program holds, for all conversations together. Pure. */

/** Conversations of full length that are worth their memory; most are far shorter. */
const MOST_WINDOWS = 4;
/** About the weights of a small model: more than one window is worth no more than these. */
const POOL_BYTES = 128 * 2 ** 20;

/**
 * One full context window at least.
 *
 * @param layers whose pages are one buffer each, of at most `bufferBytes`.
 */
export function poolTokens(
  contextWindowSize: number,
  kvBytesPerToken: number,
  layers = 1,
  bufferBytes = Infinity,
): number {
  const affordable = Math.floor(POOL_BYTES / kvBytesPerToken);
  const wanted = Math.min(MOST_WINDOWS * contextWindowSize, affordable);
  const fitting = Math.floor(bufferBytes / (kvBytesPerToken / layers));
  return Math.max(contextWindowSize, Math.min(wanted, fitting));
}
