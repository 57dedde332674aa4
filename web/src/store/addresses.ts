/**
 * The addresses of one file: a host's own and its mirrors', which of them is asked next, and which are left
 * alone. Every file is verified by its digest, so it does not matter who sent it. Pure.
 */

/** For the time of one download; the next one asks all of them again. */
export class Addresses {
  /** Those that have not refused. */
  #left: readonly string[];
  /** Those whose last answer was a failure that may pass. */
  readonly #faltering = new Set<string>();

  constructor(urls: readonly string[]) {
    this.#left = urls;
  }

  get left(): readonly string[] {
    return this.#left;
  }

  /** Whose turn it is: each in turn of those that do well. */
  at(turn: number): string {
    const well = this.#left.filter((url) => !this.#faltering.has(url));
    return well[turn % well.length] ?? "";
  }

  /** It has said for good that it does not hand out the file. @returns false where it is the last one. */
  refuse(url: string): boolean {
    const others = this.#left.filter((other) => other !== url);
    if (others.length === 0) {
      return false;
    }
    this.#left = others;
    this.#forgive();
    return true;
  }

  /**
   * It failed in a way that may pass.
   *
   * @returns false where no other one does better: all may be asked again, after a pause.
   */
  falter(url: string): boolean {
    this.#faltering.add(url);
    return !this.#forgive();
  }

  /** Whoever failed has another chance when nobody is left who did not. */
  #forgive(): boolean {
    const areAll = this.#left.every((url) => this.#faltering.has(url));
    if (areAll) {
      this.#faltering.clear();
    }
    return areAll;
  }
}
