/** What is pure of the markdown: its text, its cuts, and its half-open ends. */
import { describe, expect, it } from "vitest";

import { BlockCutter } from "../../../web/src/page/markdown/blocks.ts";
import {
  closeProvisionally,
  settledEnd,
  shownEnd,
} from "../../../web/src/page/markdown/half-open.ts";
import { safeAddress } from "../../../web/src/page/markdown/html.ts";
import { MOST_BLOCK_CHARACTERS } from "../../../web/src/page/markdown/limits.ts";
import { plainText } from "../../../web/src/page/markdown/plain-text.ts";
import { EVERYTHING } from "./markdown-answers.ts";

function cut(text: string): string[] {
  const cutter = new BlockCutter();
  cutter.read(text);
  cutter.finish();
  return cutter.blocks.map(({ kind, start, end }) => `${kind}:${text.slice(start, end).trim()}`);
}

describe("plain text of an answer", () => {
  it("has its words and none of its marks", () => {
    expect(plainText(EVERYTHING)).toBe(
      [
        ...["Title", "Part"],
        "Some bold, slanted, wrong and inline words, a link,\nand https://example.org/auto too.",
        "- one\n- two\n  - nested\n- done\n- not done",
        ...["1. first\n2. second", "Quoted\ntwice", "a, b\n1, 2", 'print("hello")'],
      ].join("\n\n"),
    );
  });

  it("leaves code out where it is to be spoken", () => {
    expect(
      plainText("Do\n\n```sh\nls\n```\n\n- this\n\n  ```\n  x\n  ```\n", { hasCode: false }),
    ).toBe("Do\n\n- this");
  });

  it.each([
    ["", ""],
    ["a &amp; b &lt;c&gt;", "a & b <c>"],
    ["$x^2$ and ![a cat](https://a.example/c.png)", "x^2 and a cat"],
    ["a<br>b", "a\nb"],
    ["said [1]", "said [1]"],
  ])("of %j is %j", (markdown, text) => {
    expect(plainText(markdown)).toBe(text);
  });
});

describe("cuts", () => {
  it.each([
    ["a\nb\n\nc", ["text:a\nb", "text:c"]],
    ["a\n# b\nc", ["text:a", "text:# b", "text:c"]],
    ["a\n- b\n- c\n\nd", ["text:a", "list:- b\n- c", "text:d"]],
    ["a\n2. b", ["text:a\n2. b"]],
    ["- a\n* b", ["list:- a", "list:* b"]],
    ["- a\n\n  b\n\nc", ["list:- a\n\n  b", "text:c"]],
    ["a\n```\n\n# b\n```\nc", ["text:a", "fence:```\n\n# b\n```", "text:c"]],
    [
      "a\n| b | c |\n|---|---|\n| d |\n\ne",
      ["text:a", "table:| b | c |\n|---|---|\n| d |", "text:e"],
    ],
    ["$$\n- a\n# b\n$$\nc", ["text:$$\n- a\n# b\n$$\nc"]],
    ["$$\n- a\n\n- b", ["text:$$\n- a", "list:- b"]],
  ])("%j", (text, blocks) => {
    expect(cut(text)).toEqual(blocks);
  });

  it("take what is too long out of what is read", () => {
    const long = "x".repeat(MOST_BLOCK_CHARACTERS + 1);
    const right = "x".repeat(MOST_BLOCK_CHARACTERS);
    expect(cut(`a\n${long}\nb`).map((block) => block.slice(0, 5))).toEqual([
      "text:",
      "plain",
      "text:",
    ]);
    expect(cut(right)[0]).toMatch(/^text:/);
  });

  it("look at each letter a fixed number of times, however it comes", () => {
    const cutter = new BlockCutter();
    const text = "word ".repeat(200_000);
    for (let at = 0; at < text.length; at += 100) {
      cutter.read(text.slice(0, at));
    }
    expect(cutter.blocks[0]?.kind).toBe("plain");
  });
});

describe("half-open ends", () => {
  it.each([
    ["a **b", "a **b**"],
    ["a **b*", "a **b**"],
    ["a *b", "a *b*"],
    ["a ***b", "a ***b***"],
    ["a **b *c", "a **b *c***"],
    ["a ~~b", "a ~~b~~"],
    ["a `b", "a `b`"],
    ["a ``b`", "a ``b``"],
    ["a **", "a "],
    ["a `", "a"],
    ["a [b", "a b"],
    ["a [b](https://x", "a b"],
    ["a ![b](https://x", "a "],
    ["**a [b](http", "**a b**"],
    ["a_b_c", "a_b_c"],
    ["2 * 3", "2 * 3"],
    ["$a_1 + $$b", "$a_1 + $$b"],
    ["| a | b", "| a | b\n|---|---|"],
    ["| a | b |\n|--", "| a | b |\n|---|---|"],
    ["| a | b |\n|---|---|", "| a | b |\n|---|---|"],
    ["done **b** `c` [d](https://x)", "done **b** `c` [d](https://x)"],
    ["- a\n\n  ```\n  **x", "- a\n\n  ```\n  **x"],
  ])("%j is shown as %j", (source, shown) => {
    expect(closeProvisionally(source)).toBe(shown);
  });

  it.each([
    ["a\n-", 2],
    ["a\n---", 2],
    ["a\n1.", 2],
    ["a\n``", 2],
    ["a\n## ", 2],
    ["a\n- b", 5],
    ["a\n", 2],
  ])("of %j as far as %i", (text, end) => {
    expect(shownEnd(text, 2)).toBe(end);
  });
});

describe("addresses that may be followed", () => {
  it.each(["https://a.example/b", "http://a.example/", "mailto:a@b.example"])("%s", (address) => {
    expect(safeAddress(address)).toBe(address);
  });

  it.each([
    "",
    "javascript:1",
    "https:",
    "https:a",
    "a.example",
    "HTTPS://",
    "ftp://a",
    "\u0001https://a",
  ])("not %j", (address) => {
    expect(safeAddress(address)).toBeNull();
  });
});

describe("what of a growing paragraph is settled", () => {
  const behind = " and so on".repeat(13);

  it("ends between two words", () => {
    const text = `A wall of oak${behind}`;
    const end = settledEnd(text);
    expect(end).toBeGreaterThan(0);
    expect(text[end]).toBe(" ");
    // What may still change how the words before it are read stays open.
    expect(text.length - end).toBeGreaterThanOrEqual(120);
    expect(settledEnd("short words")).toBe(0);
    expect(settledEnd("x".repeat(1000))).toBe(0);
  });

  it.each(["**", "*", "`", "[", "$$ ", "~~"])("has no %s open in it", (mark) => {
    expect(settledEnd(`It is ${mark}bold words${behind}`)).toBeLessThanOrEqual(5);
    // Closed, it hides nothing.
    const closed = { "[": "[words](a)", "$$ ": "$$ x $$" }[mark] ?? `${mark}words${mark}`;
    expect(settledEnd(`It is ${closed} of oak${behind}`)).toBeGreaterThan(6);
  });

  it("does not let the rest begin like a list, a heading or a quote", () => {
    for (const mark of ["-", "1.", "#", ">", "|", "+"]) {
      const text = `words ${`${mark} `.repeat(100)}`;
      expect(settledEnd(text)).toBe(0);
    }
  });
});
