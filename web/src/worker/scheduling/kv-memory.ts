/**
 * Who sits where in the KV cache: a slot of the page table and pages for every sequence under way,
 * and the prefix tree that keeps full pages for those who come later.
 *
 * The GPU follows its commands in order, so a page may be given away while commands that use it are
 * still on their way: whoever gets it writes after them.
 */
import type { BatchRuntime } from "../runtime.ts";
import { PagePool } from "./page-pool.ts";
import { type PrefixNode, PrefixTree } from "./prefix-tree.ts";

/** Where a sequence sits while it is under way. */
export interface Seat {
  readonly slot: number;
  /** The sequence's own list: it grows. */
  readonly tokenIds: readonly number[];
  readonly pages: number[];
  /** Tokens whose keys and values are in the pages. */
  computed: number;
  /** Of them, those that were there already when it sat down. */
  readonly found: number;
  /** Pages, from the first, that the tree holds too. */
  entered: number;
  /** The tree's node of the last of those. */
  node: PrefixNode | null;
}

/** How a sequence sits down. */
export interface Sitting {
  /** Pages that must be left for others; none if left out. */
  headroom?: number;
  restored?: RestoredPages | null;
  /** Whether all its tokens are to run, whatever is known of them already. */
  isFresh?: boolean;
}

/** Pages of a prompt that were read from where they had been kept, behind those of the tree. */
export interface RestoredPages {
  /** Number of the first page. */
  first: number;
  pages: readonly Uint8Array[];
}

export class KvMemory {
  readonly #runtime: BatchRuntime;
  readonly #pool: PagePool;
  readonly #tree: PrefixTree;
  readonly #freeSlots: number[];
  readonly #seats = new Set<Seat>();

  constructor(runtime: BatchRuntime) {
    const { slots, pageCount, pageSize } = runtime.limits;
    this.#runtime = runtime;
    this.#pool = new PagePool(pageCount);
    this.#tree = new PrefixTree(this.#pool, pageSize);
    this.#freeSlots = Array.from({ length: slots }, (_, index) => slots - 1 - index);
  }

  /** Pages that nobody holds, or only the tree. */
  get spareCount(): number {
    return this.#pool.freeCount + this.#tree.evictableCount;
  }

  /** Full pages that the tree has of a text's beginning; one token is left to run. */
  knownPages(tokenIds: readonly number[]): number {
    return this.#known(tokenIds, {}).length;
  }

  /** Whether `sit` would find a place. */
  hasPlace(tokenIds: readonly number[], sitting: Sitting): boolean {
    if (this.#freeSlots.length === 0) {
      return false;
    }
    const nodes = this.#known(tokenIds, sitting);
    // Those that only the tree holds are spare now and would not be any more.
    const claimed = nodes.filter(({ page }) => this.#pool.holders(page) === 1).length;
    const wanted = this.#pagesFor(tokenIds.length) - nodes.length;
    return this.spareCount - claimed >= wanted + (sitting.headroom ?? 0);
  }

  /**
   * A slot and pages for a sequence's tokens; what is known of them already is not to be run again.
   *
   * @returns null when there is no room now.
   */
  sit(tokenIds: readonly number[], sitting: Sitting): Seat | null {
    if (!this.hasPlace(tokenIds, sitting)) {
      return null;
    }
    const slot = this.#freeSlots.pop();
    if (slot === undefined) {
      return null;
    }
    const nodes = this.#known(tokenIds, sitting);
    const pages = nodes.map(({ page }) => page);
    pages.forEach((page) => {
      this.#pool.hold(page);
    });
    while (pages.length < this.#pagesFor(tokenIds.length)) {
      pages.push(this.#take());
    }
    const computed = sitting.isFresh
      ? 0
      : this.#fill(tokenIds, pages, nodes.length, sitting.restored ?? null);
    this.#runtime.setPages(slot, 0, pages);
    if (computed > 0) {
      this.#runtime.setTokens(slot, 0, tokenIds.slice(0, computed));
    }
    const seat: Seat = {
      slot,
      tokenIds,
      pages,
      computed,
      found: computed,
      entered: nodes.length,
      node: nodes.at(-1) ?? null,
    };
    this.#seats.add(seat);
    this.share(seat);
    return seat;
  }

  /** Pages for so many tokens of a sequence. @returns false, and nothing changed, without room. */
  grow(seat: Seat, tokens: number): boolean {
    const first = seat.pages.length;
    const wanted = this.#pagesFor(tokens) - first;
    if (wanted <= 0) {
      return true;
    }
    if (this.#pool.freeCount < wanted && this.spareCount < wanted) {
      return false;
    }
    const added = Array.from({ length: wanted }, () => this.#take());
    seat.pages.push(...added);
    this.#runtime.setPages(seat.slot, first, added);
    return true;
  }

  /** Enter into the tree the pages that `computed` has filled. */
  share(seat: Seat): void {
    const full = this.#fullPages(seat.computed);
    for (let index = seat.entered; index < full; index++) {
      const own = seat.pages[index] ?? 0;
      seat.node = this.#tree.enter(seat.node, seat.tokenIds, index, own);
      const { page } = seat.node;
      if (page !== own) {
        // Another sequence was first with the same tokens: one page is enough for both.
        this.#pool.hold(page);
        this.#pool.release(own);
        seat.pages[index] = page;
        this.#runtime.setPages(seat.slot, index, seat.pages.slice(index));
      }
    }
    seat.entered = Math.max(seat.entered, full);
  }

  leave(seat: Seat): void {
    this.#seats.delete(seat);
    this.#runtime.setPages(seat.slot, 0, []);
    seat.pages.forEach((page) => {
      this.#pool.release(page);
    });
    this.#freeSlots.push(seat.slot);
  }

  /** Hold pages of a seat beyond its time, to read them out; `letGo` ends that. */
  holdFirst(seat: Seat, count: number): number[] {
    const pages = seat.pages.slice(0, count);
    pages.forEach((page) => {
      this.#pool.hold(page);
    });
    return pages;
  }

  letGo(pages: readonly number[]): void {
    pages.forEach((page) => {
      this.#pool.release(page);
    });
  }

  #known(tokenIds: readonly number[], { isFresh = false }: Sitting): PrefixNode[] {
    // At least one token must run, because it makes the logits.
    return isFresh ? [] : this.#tree.match(tokenIds, this.#fullPages(tokenIds.length - 1));
  }

  /** Fill pages behind the first `shared` with what is known. @returns tokens that need not run. */
  #fill(
    tokenIds: readonly number[],
    pages: readonly number[],
    shared: number,
    restored: RestoredPages | null,
  ): number {
    const { pageSize } = this.#runtime.limits;
    const most = tokenIds.length - 1;
    let full = shared;
    restored?.pages.forEach((bytes, offset) => {
      const page = pages[full];
      // The tree may have let go of those before them, or learned some of them, meanwhile.
      const isNext = restored.first + offset === full && (full + 1) * pageSize <= most;
      if (page !== undefined && isNext) {
        this.#runtime.writePage(page, bytes);
        full++;
      }
    });
    const source = this.#sourceOf(tokenIds, full);
    const target = pages[full];
    if (source === null || target === undefined) {
      return full * pageSize;
    }
    this.#runtime.copyPage(source.page, target);
    return source.computed;
  }

  /**
   * The sequence under way that has most of the page behind the first `full`, which can be copied
   * but not shared, as both go on writing to it.
   */
  #sourceOf(tokenIds: readonly number[], full: number): { page: number; computed: number } | null {
    const { pageSize } = this.#runtime.limits;
    const end = Math.min(tokenIds.length - 1, (full + 1) * pageSize);
    let best: { page: number; computed: number } | null = null;
    for (const seat of this.#seats) {
      const computed = commonLength(tokenIds, seat.tokenIds, Math.min(end, seat.computed));
      const page = seat.pages[full];
      if (page !== undefined && computed > (best?.computed ?? full * pageSize)) {
        best = { page, computed };
      }
    }
    return best;
  }

  /** A page, if need be one that only the tree holds. */
  #take(): number {
    const page = this.#pool.take() ?? (this.#tree.evict() ? this.#pool.take() : null);
    if (page === null) {
      throw new RangeError("A page was promised, but none is to be had.");
    }
    return page;
  }

  #fullPages(tokens: number): number {
    return Math.floor(tokens / this.#runtime.limits.pageSize);
  }

  #pagesFor(tokens: number): number {
    return Math.ceil(tokens / this.#runtime.limits.pageSize);
  }
}

/** How many tokens two texts have in common from the first on, at most `most`. */
function commonLength(one: readonly number[], other: readonly number[], most: number): number {
  let length = 0;
  while (length < most && one[length] === other[length]) {
    length++;
  }
  return length;
}
