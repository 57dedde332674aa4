/** Each language says what English says, in words of its own. */
import { describe, expect, it } from "vitest";

import { ar } from "../../../web/src/page/i18n/ar/index.ts";
import { de } from "../../../web/src/page/i18n/de/index.ts";
import { en } from "../../../web/src/page/i18n/en/index.ts";
import { LANGUAGES, preferredLanguage } from "../../../web/src/page/i18n/words.ts";

/** Names of things and keys, and words that German has taken over: all say them so. */
const SAME = new Set([
  "Ctrl + Enter",
  "Downloads",
  "Modelfile",
  "Normal",
  "Parameter",
  "Python",
  "Server",
  "System",
  "Transom 2",
  "Typical P",
]);
/** Shorter ones are units and abbreviations: GPU, CPU, Top P. */
const LEAST_LETTERS = 6;
/** Empty in English: dictionaries for what is said in English where it arises. */
const DICTIONARIES = new Set([
  "reasons.place",
  "reasons.briefly",
  "reasons.errors",
  "reasons.detailed",
]);

type Leaf = readonly [path: string, value: unknown];

function leavesOf(value: unknown, path = ""): Leaf[] {
  if (typeof value !== "object" || value === null) {
    return [[path, value]];
  }
  return DICTIONARIES.has(path)
    ? []
    : Object.entries(value).flatMap(([key, each]) =>
        leavesOf(each, path === "" ? key : `${path}.${key}`),
      );
}

/** What a function says of numbers and names alike: 2, "2", and a list. */
function said(value: unknown): string {
  if (typeof value === "string") {
    return value;
  }
  const say = value as (...values: unknown[]) => unknown;
  for (const argument of [2, "2", ["2"]]) {
    try {
      const text = say(...Array.from({ length: say.length }, () => argument));
      if (typeof text === "string") {
        return text;
      }
    } catch {
      // It is for other arguments.
    }
  }
  return "";
}

const english = new Map(leavesOf(en));

it("lists each language in its own words", () => {
  expect(Object.keys(LANGUAGES)).toEqual(["en", "de", "ar"]);
});

it.each([
  [["de-AT", "en"], "de"],
  [["fr", "ar-EG"], "ar"],
  [["EN-gb"], "en"],
  [["toString", "fr"], "en"],
  [[], "en"],
])("of %j chooses %s", (wanted, chosen) => {
  expect(preferredLanguage(wanted)).toBe(chosen);
});

describe.each([
  ["German", de, /[a-zäöüß]/i],
  ["Arabic", ar, /\p{Script=Arabic}/u],
])("%s", (_, language, script) => {
  const leaves = leavesOf(language);

  it("has the same words to say", () => {
    expect(leaves.map(([path]) => path).sort()).toEqual([...english.keys()].sort());
  });

  it("has functions of as many arguments", () => {
    const odd = leaves.filter(([path, value]) => {
      const same = english.get(path);
      return (
        typeof value !== typeof same ||
        // One that has no use for an argument may leave it out.
        (typeof value === "function" && value.length > (same as () => string).length)
      );
    });
    expect(odd.map(([path]) => path)).toEqual([]);
  });

  it("says nothing in English", () => {
    const copied = leaves.filter(([path, value]) => {
      const text = said(value);
      const letters = text.match(/\p{L}/gu)?.length ?? 0;
      return letters >= LEAST_LETTERS && text === said(english.get(path)) && !SAME.has(text);
    });
    expect(copied.map(([path, value]) => `${path}: ${said(value)}`)).toEqual([]);
  });

  it("is written in its script", () => {
    const strange = leaves.filter(([, value]) => {
      const text = said(value);
      const letters = text.match(/\p{L}/gu)?.length ?? 0;
      return letters >= LEAST_LETTERS && !script.test(text) && !SAME.has(text);
    });
    expect(strange.map(([path, value]) => `${path}: ${said(value)}`)).toEqual([]);
  });
});
