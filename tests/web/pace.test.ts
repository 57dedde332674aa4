import { describe, expect, it } from "vitest";

import { Pace } from "../../web/src/worker/scheduling/pace.ts";
import { SMALL } from "./fake-batch-runtime.ts";

const LIMITS = { ...SMALL, pageSize: 16, prefillChunkSize: 1024 };

describe("Pace", () => {
  it("runs prompts in the largest pieces while nobody waits", () => {
    expect(new Pace(LIMITS).chunkSize(false)).toBe(1024);
  });

  it.each([
    ["a page as long as nothing is known", null, 16],
    ["what runs in a tenth of a second, in whole pages", 530 / 1000, 48],
    ["a page on a slow machine", 1 / 1000, 16],
    ["no more than the library takes", 100, 1024],
  ])("runs %s while somebody waits", (_, tokensPerMs, size) => {
    const pace = new Pace(LIMITS);
    if (tokensPerMs !== null) {
      pace.prefilled(tokensPerMs * 1000, 1000);
    }
    expect(pace.chunkSize(true)).toBe(size);
  });

  it("shows the first tokens one by one", () => {
    const pace = new Pace(LIMITS);
    expect([0, 1, 2, 3, 4, 99].map((groups) => pace.steps(groups))).toEqual([1, 2, 4, 6, 6, 6]);
  });

  it("has two groups on their way only where a step is short", () => {
    const pace = new Pace(LIMITS);
    expect(pace.isQuick).toBe(false);
    pace.stepped(4, 400);
    expect(pace.isQuick).toBe(false);
    for (let group = 0; group < 5; group++) {
      pace.stepped(4, 40);
    }
    expect(pace.isQuick).toBe(true);
  });
});
