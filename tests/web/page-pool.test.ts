import { describe, expect, it } from "vitest";

import { PagePool } from "../../web/src/worker/scheduling/page-pool.ts";

describe("PagePool", () => {
  it("gives each page once, and nothing when there is none", () => {
    const pool = new PagePool(3);
    expect([pool.take(), pool.take(), pool.take()].sort()).toEqual([0, 1, 2]);
    expect(pool.take()).toBeNull();
    expect(pool.freeCount).toBe(0);
  });

  it("frees a page when its last holder lets go", () => {
    const pool = new PagePool(1);
    const page = pool.take() ?? -1;
    pool.hold(page);
    pool.release(page);
    expect(pool.holders(page)).toBe(1);
    expect(pool.take()).toBeNull();
    pool.release(page);
    expect(pool.take()).toBe(page);
  });

  it("refuses to count below nothing", () => {
    const pool = new PagePool(2);
    const page = pool.take() ?? -1;
    pool.release(page);
    expect(() => {
      pool.release(page);
    }).toThrow(/Page \d is free/);
    expect(() => {
      pool.hold(page);
    }).toThrow(RangeError);
    expect(pool.freeCount).toBe(2);
  });
});
