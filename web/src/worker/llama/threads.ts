/** How many threads llama.cpp gets. Pure: facts in, choice out. */

/** Beyond this memory, not arithmetic, is what is waited for. */
const MOST_THREADS = 8;

/**
 * Half of what a machine counts. Threads wait for each other by running in circles, so one whose core
 * is wanted by somebody else stalls all: on two cores with much else to do, two threads wrote 0.4
 * tokens a second where one wrote 9.
 *
 * @param isIsolated from other origins (COOP and COEP): else threads may not share memory.
 * @param wanted so many, if they may be.
 */
export function threadCount(cores: number, isIsolated: boolean, wanted?: number): number {
  return isIsolated ? Math.max(1, Math.min(MOST_THREADS, wanted ?? Math.floor(cores / 2))) : 1;
}
