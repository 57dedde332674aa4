/** How many threads llama.cpp gets. Pure: facts in, choice out. */

/** Beyond this memory, not arithmetic, is what is waited for. */
const MOST_THREADS = 8;

/**
 * Half of what a machine counts, which often counts each core twice.
 *
 * @param isIsolated from other origins (COOP and COEP): else threads may not share memory.
 */
export function threadCount(cores: number, isIsolated: boolean): number {
  return isIsolated ? Math.min(cores, MOST_THREADS, Math.max(2, Math.ceil(cores / 2))) : 1;
}
