import { describe, expect, it } from "vitest";

import { CharacterMap } from "../../web/src/worker/character-map.ts";
import { exactNormalizer } from "../../web/src/worker/normalizer.ts";

/**
 * A character map by hand. Units: 0 is the root, whose children start at `root`; each row of `units`
 * is [index, label, children, hasValue], and a value's unit holds its place among the values.
 */
function characterMap(
  root: number,
  units: [index: number, label: number, children: number, hasValue: boolean][],
  values: [index: number, place: number][],
  texts: string,
): string {
  const size = 512;
  const blob = new DataView(new ArrayBuffer(4 + 4 * size));
  blob.setUint32(0, 4 * size, true);
  blob.setUint32(4, root << 10, true);
  for (const [index, label, children, hasValue] of units) {
    blob.setUint32(4 + 4 * index, (children << 10) | (hasValue ? 256 : 0) | label, true);
  }
  for (const [index, place] of values) {
    blob.setUint32(4 + 4 * index, (0x8000_0000 | place) >>> 0, true);
  }
  const bytes = [...new Uint8Array(blob.buffer), ...new TextEncoder().encode(texts)];
  return btoa(String.fromCharCode(...bytes));
}

const A = 0x61;
const B = 0x62;
/** "a" becomes "X", "ab" becomes "yz". */
const MAP = characterMap(
  256,
  [
    [256 ^ A, A, 64, true],
    // Children of "a" start at (256 ^ a) ^ 64.
    [256 ^ A ^ 64 ^ B, B, 8, true],
  ],
  [
    [256 ^ A ^ 64, 0],
    [256 ^ A ^ 64 ^ B ^ 8, 2],
  ],
  "X\0yz\0",
);

describe("CharacterMap", () => {
  const map = new CharacterMap(MAP);

  it.each([
    ["a", "X"],
    ["ab", "yz"],
    ["aab", "Xyz"],
    ["ba", "bX"],
    ["né🙂a日", "né🙂X日"],
    ["", ""],
    ["\u{feff}\0a", "\u{feff}\0X"],
  ])("takes the longest key at each place: %j", (text, expected) => {
    expect(map.normalize(text)).toBe(expected);
  });

  it.each(["", btoa("\x04\0\0"), btoa("\x05\0\0\0abcdef"), btoa("\xff\xff\xff\xffabcdef")])(
    "refuses a blob that is cut off: %j",
    (blob) => {
      expect(() => new CharacterMap(blob)).toThrow(/cut off/);
    },
  );

  it("refuses to look outside of itself", () => {
    const lost = new CharacterMap(characterMap(256, [[256 ^ A, A, 4096, true]], [], "X\0"));
    expect(() => lost.normalize("a")).toThrow(/points outside/);
    const endless = characterMap(256, [[256 ^ A, A, 64, true]], [[256 ^ A ^ 64, 0]], "X");
    expect(() => new CharacterMap(endless).normalize("a")).toThrow(/points outside/);
  });
});

describe("exactNormalizer", () => {
  it("leaves an empty text empty where a prefix is put before others", () => {
    const normalize = exactNormalizer({
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Lowercase" },
        { type: "Precompiled", precompiled_charsmap: MAP },
      ],
    });
    expect(normalize?.("ABc")).toBe("▁yzc");
    expect(normalize?.("")).toBe("");
  });

  it("is for those two only", () => {
    expect(exactNormalizer(null)).toBeNull();
    expect(exactNormalizer({ type: "Sequence", normalizers: [{ type: "NFC" }] })).toBeNull();
  });
});
