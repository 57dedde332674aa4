/** Whoever comes waits until all before have gone: for what does one thing at a time. */

export class WaitingLine {
  readonly #waiting: (() => void)[] = [];
  #isTaken = false;

  /**
   * Do it once it is its turn.
   *
   * @param signal who does not wait any more leaves the line.
   * @returns null for who left before its turn.
   */
  async enter<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T | null> {
    if (signal?.aborted === true || !(await this.#turn(signal))) {
      return null;
    }
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      this.#isTaken = next !== undefined;
      next?.();
    }
  }

  /** @returns false where the signal came first. */
  #turn(signal: AbortSignal | undefined): Promise<boolean> | boolean {
    if (!this.#isTaken) {
      this.#isTaken = true;
      return true;
    }
    return new Promise((resolve) => {
      const begin = () => {
        signal?.removeEventListener("abort", leave);
        resolve(true);
      };
      const leave = () => {
        this.#waiting.splice(this.#waiting.indexOf(begin), 1);
        resolve(false);
      };
      this.#waiting.push(begin);
      signal?.addEventListener("abort", leave, { once: true });
    });
  }
}
