/** How fast something goes, over a short window, so that it follows what changes. For all contexts. */

/** Long enough to be calm, short enough to notice a stall. */
const WINDOW_SECONDS = 5;
/** A rate from less than this much time is noise. */
const SHORTEST_SPAN_SECONDS = 0.25;

export class Rate {
  readonly #now: () => number;
  readonly #samples: { at: number; amount: number }[] = [];

  /** @param now seconds on a clock that never goes back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** So much is done by now; it may go back where something starts over. */
  sample(amount: number): void {
    const at = this.#now();
    this.#samples.push({ at, amount });
    while (this.#samples.length > 2 && (this.#samples[0]?.at ?? at) < at - WINDOW_SECONDS) {
      this.#samples.shift();
    }
  }

  /** 0 while nobody can tell. */
  perSecond(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined) {
      return 0;
    }
    const span = this.#now() - first.at;
    return span < SHORTEST_SPAN_SECONDS ? 0 : Math.max(0, last.amount - first.amount) / span;
  }
}
