import { describe, expect, it } from "vitest";

import { gumbelNoise, philox } from "../../web/src/worker/random.ts";

const ALL_BITS = 0xffffffff;

describe("philox", () => {
  // The known answers of its authors' library, Random123 (`philox4x32 10` in kat_vectors);
  // tests/compile/test_kernels_drawing.py asks the same of the GPU.
  it.each<[[number, number, number, number], [number, number], number[]]>([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [ALL_BITS, ALL_BITS, ALL_BITS, ALL_BITS],
      [ALL_BITS, ALL_BITS],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ])("answers as its authors say (%o, %o)", (counter, key, expected) => {
    expect(philox(counter, key)).toEqual(expected);
  });
});

describe("gumbelNoise", () => {
  // Computed by an independent Python version; the same stand in the test of the kernels.
  it.each([
    [0, 1, 0, 0.6161976504332256],
    [42, 7, 3, -0.00013290138813694925],
    [2 ** 40 + 7, 4095, 49151, 1.3644580369771016],
    [-1, 100, 151935, -0.36606431349322155],
    [-(2 ** 53) + 1, 1, 2, 2.073970963713861],
  ])("of seed %d, position %d, token %d", (seed, position, token, expected) => {
    expect(gumbelNoise(seed, position)(token)).toBeCloseTo(expected, 12);
  });

  it("does not depend on the order in which tokens are asked for", () => {
    const noise = gumbelNoise(3, 5);
    const forwards = [0, 1, 4, 9].map(noise);
    expect([9, 4, 1, 0].map(gumbelNoise(3, 5)).reverse()).toEqual(forwards);
    expect(new Set(forwards).size).toBe(4);
  });

  it("has the distribution's mean and spread", () => {
    const noise = gumbelNoise(1, 0);
    const values = Array.from({ length: 50_000 }, (_, token) => noise(token));
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const spread = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    // Euler's constant and pi ** 2 / 6.
    expect(mean).toBeCloseTo(0.5772, 1);
    expect(Math.abs(spread - Math.PI ** 2 / 6)).toBeLessThan(0.05);
  });
});
