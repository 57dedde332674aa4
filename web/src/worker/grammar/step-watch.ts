/** How long a grammar takes over each token of an answer: it must not take ever longer. */
import { TransomError } from "../../errors.ts";

/**
 * Milliseconds that the grammar may take over one token, and how often in a row. Masks of large
 * vocabularies take slow phones a second; a grammar that reads the same text in many ways takes ever
 * longer, and all other answers of its model wait. Twice: a machine that slept took long over one.
 */
export const MAX_STEP_MS = 5_000;
const MAX_SLOW_STEPS = 2;

export class StepWatch {
  readonly #now: () => number;
  #spentMs = 0;
  #slowSteps = 0;

  /** @param now milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** Work for the token that comes next. */
  measure<T>(work: () => T): T {
    const start = this.#now();
    const result = work();
    this.#spentMs += this.#now() - start;
    return result;
  }

  /** All for a token is done. @throws TransomError `invalid-request` where it took too long again. */
  endStep(): void {
    this.#slowSteps = this.#spentMs > MAX_STEP_MS ? this.#slowSteps + 1 : 0;
    this.#spentMs = 0;
    if (this.#slowSteps >= MAX_SLOW_STEPS) {
      throw new TransomError(
        "invalid-request",
        "The format reads the same text in so many ways that its steps take too long. Write it so " +
          "that each text is read in one way, or ask with a JSON schema.",
      );
    }
  }
}
