import { describe, expect, it } from "vitest";

import { PagePool } from "../../web/src/worker/scheduling/page-pool.ts";
import { PrefixTree } from "../../web/src/worker/scheduling/prefix-tree.ts";

/** A tree over pages of two tokens, and a way to put texts into it that nobody goes on using. */
function plant(pageCount = 16) {
  const pool = new PagePool(pageCount);
  const tree = new PrefixTree(pool, 2);
  const enter = (tokenIds: number[]): number[] => {
    let node = null;
    const pages: number[] = [];
    for (let index = 0; index < Math.floor(tokenIds.length / 2); index++) {
      const page = pool.take() ?? -1;
      node = tree.enter(node, tokenIds, index, page);
      pool.release(page);
      pages.push(node.page);
    }
    return pages;
  };
  const match = (tokenIds: number[], most = 99) =>
    tree.match(tokenIds, most).map(({ page }) => page);
  return { pool, tree, enter, match };
}

describe("PrefixTree", () => {
  it("finds the pages that a text begins with, whole ones only", () => {
    const { enter, match } = plant();
    const pages = enter([1, 2, 3, 4, 5]);
    expect(pages).toHaveLength(2);
    expect(match([1, 2, 3, 4, 9, 9])).toEqual(pages);
    expect(match([1, 2, 3, 9])).toEqual(pages.slice(0, 1));
    expect(match([1, 2, 3, 4], 1)).toEqual(pages.slice(0, 1));
    expect(match([2, 1])).toEqual([]);
    expect(match([1])).toEqual([]);
  });

  it("does not take the same tokens elsewhere, or others that read alike, for the same", () => {
    const { enter, match } = plant();
    enter([1, 2, 3, 4]);
    expect(match([3, 4])).toEqual([]);
    enter([12, 3, 4, 5]);
    expect(match([1, 23])).toEqual([]);
  });

  it("shares what texts have in common", () => {
    const { enter, pool, tree } = plant();
    const [first] = enter([1, 2, 3, 4]);
    const [again] = enter([1, 2, 5, 6]);
    expect(again).toBe(first);
    expect(tree.pageCount).toBe(3);
    expect(pool.freeCount).toBe(13);
  });

  it("lets go of the leaf that was used longest ago, then of what is above it", () => {
    const { enter, match, tree, pool } = plant();
    enter([1, 2, 3, 4]);
    enter([1, 2, 5, 6]);
    enter([7, 8]);
    match([1, 2, 3, 4]);
    const left = () =>
      [match([1, 2, 3, 4]), match([1, 2, 5, 6]), match([7, 8])].map((p) => p.length);
    expect(tree.evict()).toBe(true);
    // Asking is using, but all are asked alike.
    expect(left()).toEqual([2, 1, 1]);
    expect(tree.evict()).toBe(true);
    expect(left()).toEqual([1, 1, 1]);
    expect(tree.evict()).toBe(true);
    expect(tree.evict()).toBe(true);
    expect(tree.evict()).toBe(false);
    expect(pool.freeCount).toBe(16);
  });

  it("keeps what a sequence holds", () => {
    const { enter, tree, pool } = plant();
    const [first = -1, second = -1] = enter([1, 2, 3, 4]);
    pool.hold(first);
    pool.hold(second);
    enter([1, 2, 5, 6]);
    expect(tree.evictableCount).toBe(1);
    expect(tree.evict()).toBe(true);
    expect(tree.evict()).toBe(false);
    pool.release(second);
    expect(tree.evictableCount).toBe(1);
    expect(tree.evict()).toBe(true);
    expect(tree.evict()).toBe(false);
  });
});
