/** About how high an answer is before it is laid out. */
import { describe, expect, test } from "vitest";

import { NARROW_LINE_CHARACTERS, linesOf } from "../../../web/src/page/chat/turn-height.ts";

describe("lines of an answer", () => {
  test("prose wraps", () => {
    expect(linesOf("", 90)).toBe(0);
    expect(linesOf("Yes.", 90)).toBe(1);
    expect(linesOf("a".repeat(91), 90)).toBe(2);
    expect(linesOf("a".repeat(91), NARROW_LINE_CHARACTERS)).toBe(3);
  });

  test("code does not wrap, and ends with its fence", () => {
    const code = `\`\`\`js\n${"x".repeat(900)}\n\`\`\``;
    expect(linesOf(code, 90)).toBeLessThan(5);
    expect(linesOf(`${code}\n${"x".repeat(900)}`, 90)).toBeCloseTo(linesOf(code, 90) + 10);
    // Another fence is code.
    expect(linesOf("```\n~~~\nx\n```", 90)).toBeGreaterThan(linesOf("```\nx\n```", 90));
  });

  test("rows of a table are higher than lines, gaps lower", () => {
    const rows = "| a | b |\n".repeat(10);
    expect(linesOf(rows, 90)).toBeGreaterThan(10);
    expect(linesOf("a\n\nb", 90)).toBeGreaterThan(2);
    expect(linesOf("a\n\nb", 90)).toBeLessThan(3);
  });

  test("a text of any length costs what two hundred thousand characters cost", () => {
    const half = "\n".repeat(200_000);
    const lines = linesOf(half + "a\n".repeat(2_000_000), 90);
    expect(lines).toBeCloseTo(linesOf(half, 90) + 4_000_000 / 90);
  });
});
