/**
 * The pages of a KV cache, counted: a page is free when nobody holds it. Pure.
 *
 * Holders are sequences under way, the prefix tree, and whoever reads a page out. A page that has
 * more than one holder is full, and nobody writes to it.
 */
export class PagePool {
  readonly pageCount: number;
  readonly #free: number[];
  readonly #holders: Uint32Array;

  constructor(pageCount: number) {
    this.pageCount = pageCount;
    this.#holders = new Uint32Array(pageCount);
    this.#free = Array.from({ length: pageCount }, (_, index) => pageCount - 1 - index);
  }

  get freeCount(): number {
    return this.#free.length;
  }

  /** A page for one holder; null when there is none. */
  take(): number | null {
    const page = this.#free.pop();
    if (page === undefined) {
      return null;
    }
    this.#holders[page] = 1;
    return page;
  }

  holders(page: number): number {
    return this.#holders[page] ?? 0;
  }

  /** One more holder of a page that has one already. */
  hold(page: number): void {
    this.#holders[page] = this.#held(page) + 1;
  }

  /** One holder fewer; the last one frees the page. */
  release(page: number): void {
    const left = this.#held(page) - 1;
    this.#holders[page] = left;
    if (left === 0) {
      this.#free.push(page);
    }
  }

  #held(page: number): number {
    const holders = this.holders(page);
    if (holders === 0) {
      throw new RangeError(`Page ${page} is free: nobody can share it or give it back.`);
    }
    return holders;
  }
}
