/** The design tokens as they are written: every pair that is read has its contrast. */
import { readFileSync } from "node:fs";

import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("../../../web/src/tokens.css", import.meta.url), "utf8");

type Tokens = Readonly<Record<string, string>>;
type Scheme = "light" | "dark";

/** Custom properties of the block that a selector opens, in the part of the file after `from`. */
function tokensOf(selector: string, from = ""): Tokens {
  const start = css.indexOf(`${selector} {`, css.indexOf(from));
  const block = css.slice(css.indexOf("{", start) + 1, css.indexOf("}", start));
  const found = [...block.matchAll(/(--[\w-]+):\s*([^;]+);/g)];
  return Object.fromEntries(found.map(([, name = "", value = ""]) => [name, value.trim()]));
}

const usual = tokensOf(":root");
const asked = tokensOf(':root[data-contrast="more"]');
const wished = tokensOf(":root", "@media (prefers-contrast: more)");

/** WCAG 2.2's relative luminance of "#rrggbb". */
function luminance(hex: string): number {
  const [r = 0, g = 0, b = 0] = [1, 3, 5].map((at) => {
    const channel = Number.parseInt(hex.slice(at, at + 2), 16) / 255;
    return channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

function contrast(one: string, other: string): number {
  const [lighter = 0, darker = 0] = [luminance(one), luminance(other)].sort((a, b) => b - a);
  return (lighter + 0.05) / (darker + 0.05);
}

function colour(tokens: Tokens, name: string, scheme: Scheme): string {
  const value = tokens[name] ?? "";
  const [, light, dark] = /^light-dark\((#[\da-f]{6}), (#[\da-f]{6})\)$/.exec(value) ?? [];
  const chosen = scheme === "light" ? light : dark;
  if (chosen === undefined) {
    throw new Error(`${name} is "${value}", not light-dark(#rrggbb, #rrggbb).`);
  }
  return chosen;
}

const READ: readonly (readonly [string, readonly string[]])[] = [
  ["--ink", ["--paper", "--raised", "--sunken", "--asked", "--pane", "--mark"]],
  ["--faint", ["--paper", "--raised", "--sunken", "--asked"]],
  ["--link", ["--paper", "--raised", "--asked"]],
  ["--on-door", ["--door"]],
  ["--warning", ["--paper", "--raised", "--warning-paper"]],
  ["--warning-paper", ["--warning"]],
  ["--notice", ["--paper", "--raised", "--notice-paper"]],
  ["--good", ["--paper", "--raised", "--good-paper"]],
  ...["ink", "keyword", "string", "number", "comment", "title", "built-in"].map(
    (name) => [`--code-${name}`, ["--code-paper"]] as const,
  ),
];

/** Not text: outlines of what is filled in, and of what has the focus (WCAG 1.4.11). */
const SEEN: readonly (readonly [string, readonly string[]])[] = [
  ["--edge", ["--paper", "--raised"]],
  ["--focus", ["--paper", "--raised", "--asked"]],
  ["--door", ["--paper", "--raised"]],
];

const LOOKS = (["light", "dark"] as const).flatMap((scheme) => [
  { name: scheme, scheme, tokens: usual, least: 4.5 },
  { name: `${scheme}, high contrast`, scheme, tokens: { ...usual, ...asked }, least: 7 },
]);

describe.each(LOOKS)("contrast in $name", ({ scheme, tokens, least }) => {
  const pairs = (table: typeof READ) =>
    table.flatMap(([front, papers]) => papers.map((paper) => [front, paper] as const));

  it.each(pairs(READ))("%s is read on %s", (front, paper) => {
    const ratio = contrast(colour(tokens, front, scheme), colour(tokens, paper, scheme));
    expect(ratio).toBeGreaterThanOrEqual(least);
  });

  it.each(pairs(SEEN))("%s is seen on %s", (front, paper) => {
    const ratio = contrast(colour(tokens, front, scheme), colour(tokens, paper, scheme));
    expect(ratio).toBeGreaterThanOrEqual(3);
  });
});

it("has the same high contrast by the system's wish and by choice", () => {
  expect(Object.keys(asked).length).toBeGreaterThan(20);
  expect(wished).toEqual(asked);
});

it("measures contrast as WCAG does", () => {
  expect(contrast("#000000", "#ffffff")).toBeCloseTo(21);
  expect(contrast("#767676", "#ffffff")).toBeCloseTo(4.54, 2);
});
