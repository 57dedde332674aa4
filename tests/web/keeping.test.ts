import { beforeEach, describe, expect, it, vi } from "vitest";

/** A page that has just been opened. */
async function page() {
  vi.resetModules();
  return (await import("../../web/src/page/keeping.ts")).askToKeep;
}

describe("askToKeep", () => {
  let asked = 0;
  beforeEach(() => {
    asked = 0;
  });
  const storage = (answer: () => Promise<boolean>) => ({
    persist: () => {
      asked++;
      return answer();
    },
  });

  it("asks once a visit", async () => {
    const ask = await page();
    ask(storage(() => Promise.resolve(false)));
    ask(storage(() => Promise.resolve(true)));
    expect(asked).toBe(1);
    (await page())(storage(() => Promise.resolve(true)));
    expect(asked).toBe(2);
  });

  it("does without an answer, and without storage", async () => {
    (await page())(storage(() => Promise.reject(new TypeError("no"))));
    (await page())(null);
    expect(asked).toBe(1);
  });
});
