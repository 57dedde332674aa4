/**
 * How much work is given to the GPU at once, by what it was measured to do. Pure.
 *
 * Large pieces cost fewer waits; small ones let a stream go on and an abort in.
 */
import type { BatchLimits } from "../runtime.ts";

/** A stream that is under way stands still for a piece of somebody's prompt no longer than this. */
const PREFILL_WAIT_MS = 100;
/** With longer steps the GPU is busy anyway while one group is read; a second only delays a stop. */
const QUICK_STEP_MS = 50;
/**
 * Decode steps that the GPU does before the CPU reads what was chosen. The first tokens are shown
 * one by one; after them a read-back brings six, so that an answer of 64 tokens takes 14 of them:
 * less than a quarter of one a token, and with the steps in flight no wait of the GPU in between.
 */
const STEPS = [1, 2, 4] as const;
const MOST_STEPS = 6;
/** What the newest measurement counts for, against all before it. */
const NEWEST = 0.5;

export class Pace {
  readonly #limits: BatchLimits;
  #tokensPerMs: number | null = null;
  #msPerStep: number | null = null;

  constructor(limits: BatchLimits) {
    this.#limits = limits;
  }

  /** Whether a second group of steps should be on its way while the first is read. */
  get isQuick(): boolean {
    return this.#msPerStep !== null && this.#msPerStep < QUICK_STEP_MS;
  }

  /** Tokens of a prompt to run in one piece. */
  chunkSize(someoneWaits: boolean): number {
    const { pageSize, prefillChunkSize } = this.#limits;
    if (!someoneWaits) {
      return prefillChunkSize;
    }
    const bearable = (this.#tokensPerMs ?? 0) * PREFILL_WAIT_MS;
    // Whole pages, so that the next piece begins with one.
    const whole = Math.floor(bearable / pageSize) * pageSize;
    return Math.min(Math.max(whole, pageSize), prefillChunkSize);
  }

  /** @param groups of steps that a sequence has had. */
  steps(groups: number): number {
    return STEPS[groups] ?? MOST_STEPS;
  }

  prefilled(tokens: number, ms: number): void {
    this.#tokensPerMs = mixed(this.#tokensPerMs, tokens / ms);
  }

  stepped(steps: number, ms: number): void {
    this.#msPerStep = mixed(this.#msPerStep, ms / steps);
  }
}

function mixed(before: number | null, now: number): number {
  return before === null ? now : before + NEWEST * (now - before);
}
