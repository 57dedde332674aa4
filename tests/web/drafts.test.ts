import { describe, expect, it } from "vitest";

import { DraftMeter, draft } from "../../web/src/worker/scheduling/drafts.ts";

describe("draft", () => {
  it.each([
    ["what followed the last three tokens", [1, 2, 3, 4, 5, 9, 1, 2, 3], [4, 5, 9, 1, 2, 3]],
    ["the newest of several places", [1, 2, 3, 1, 2, 4, 1, 2], [4, 1, 2]],
    ["a longer match before a newer one", [7, 1, 2, 5, 1, 2, 6, 7, 1, 2], [5, 1, 2, 6, 7, 1, 2]],
    ["what followed one token, if need be", [8, 3, 1, 8], [3, 1, 8]],
    ["a repetition that reaches to the end", [4, 4, 4], [4]],
    ["nothing of what is new", [1, 2, 3], []],
    ["nothing of one token", [1], []],
    ["nothing of nothing", [], []],
  ])("gives %s", (_, tokenIds, guesses) => {
    expect(draft(tokenIds, 7)).toEqual(guesses);
  });

  it("gives no more than asked for", () => {
    const tokenIds = [1, 2, 3, 4, 5, 6, 7, 8, 9, 1];
    expect(draft(tokenIds, 2)).toEqual([2, 3]);
    expect(draft(tokenIds, 0)).toEqual([]);
    expect(draft(tokenIds, -1)).toEqual([]);
  });
});

describe("DraftMeter", () => {
  it("measures plain steps first", () => {
    const meter = new DraftMeter();
    expect(meter.isWorthIt).toBe(false);
    meter.plain(4, 40);
    expect(meter.isWorthIt).toBe(true);
  });

  it("goes by tokens a second", () => {
    const meter = new DraftMeter();
    meter.plain(4, 40);
    meter.drafted(3, 20);
    expect(meter.isWorthIt).toBe(true);
    for (let step = 0; step < 20; step++) {
      meter.drafted(1, 20);
    }
    expect(meter.isWorthIt).toBe(false);
  });

  it("tries again after a while, once", () => {
    const meter = new DraftMeter();
    meter.plain(4, 40);
    meter.drafted(1, 20);
    for (let step = 0; step < 31; step++) {
      meter.plain(4, 40);
    }
    expect(meter.isWorthIt).toBe(false);
    meter.plain(4, 40);
    expect(meter.isWorthIt).toBe(true);
    meter.drafted(1, 20);
    expect(meter.isWorthIt).toBe(false);
  });
});
