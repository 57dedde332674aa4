/** The calculator: what it works out, and what it says of what it cannot. */
import { describe, expect, it } from "vitest";

import { calculator } from "../../../web/src/tools/builtin/calculator.ts";
import { written } from "../../../web/src/tools/builtin/exact.ts";
import { evaluate, MAX_CHARACTERS, MAX_DEPTH } from "../../../web/src/tools/builtin/expression.ts";

const result = (expression: string) => written(evaluate(expression)).text;

describe("arithmetic", () => {
  it.each([
    ["1 + 2 * 3", "7"],
    ["(1 + 2) * 3", "9"],
    ["2^3^2", "512"],
    ["-2^2", "-4"],
    ["(-2)^2", "4"],
    ["2^-1", "0.5"],
    ["2 ** 10", "1024"],
    ["7 % 3", "1"],
    ["-7 % 3", "2"],
    ["7.5 % 2", "1.5"],
    ["--3", "3"],
    ["+-+3", "-3"],
    ["10 - 2 - 3", "5"],
    ["100 / 10 / 2", "5"],
    ["1.5e3 + .5", "1500.5"],
    ["2E-3", "0.002"],
    ["12_000 * 2", "24000"],
    ["5!", "120"],
    ["3!!", "720"],
    ["6 × 7 ÷ 2 − 1", "20"],
    ["0^0", "1"],
  ])("%s is %s", (expression, expected) => {
    expect(result(expression)).toBe(expected);
  });

  it("is exact where people expect it", () => {
    expect(result("0.1 + 0.2")).toBe("0.3");
    expect(result("1/3*3")).toBe("1");
    expect(result("2^100")).toBe("1267650600228229401496703205376");
    expect(result("12345678901234567890 + 1")).toBe("12345678901234567891");
    expect(result("25!/24!")).toBe("25");
    expect(result("1/8")).toBe("0.125");
    expect(result("round(2.675, 2)")).toBe("2.68");
    expect(result("round(-2.5)")).toBe("-3");
    expect(result("sqrt(2.25)")).toBe("1.5");
    expect(result("floor(-0.5) + ceil(0.5)")).toBe("0");
  });

  it("rounds to what a double keeps beyond", () => {
    expect(result("1/3")).toBe("0.333333333333333");
    expect(result("2/3 * 1e20")).toBe("66666666666666700000");
    expect(result("sqrt(2)")).toBe("1.4142135623731");
    expect(result("10^300")).toBe("1e+300");
    expect(result("500!/498!")).toBe("249500");
    expect(Number(result("7^200"))).toBeCloseTo(7 ** 200, -155);
  });

  it.each([
    ["sin(30*deg)", "0.5"],
    ["cos(pi)", "-1"],
    ["ln(e)", "1"],
    ["log(1000)", "3"],
    ["log(8, 2)", "3"],
    ["log2(1024)", "10"],
    ["exp(0)", "1"],
    ["cbrt(27)", "3"],
    ["hypot(3, 4)", "5"],
    ["min(3, 1, 2) + max(1, 5)", "6"],
    ["sum(1, 2, 3) / mean(1, 2, 3)", "3"],
    ["gcd(12, 18) + lcm(4, 6)", "18"],
    ["comb(52, 5)", "2598960"],
    ["perm(5, 2)", "20"],
    ["abs(-3) * sign(-2)", "-3"],
    ["degrees(pi)", "180"],
    ["Math.sqrt(16)".replace(".", "_"), "4"],
    ["√(9) + π - pi", "3"],
  ])("%s is %s", (expression, expected) => {
    expect(result(expression)).toBe(expected);
  });

  it("agrees with the engine's own arithmetic", () => {
    // A generator of its own, so that a failure can be run again.
    let seed = 20261122;
    const next = (below: number) => {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      return seed % below;
    };
    const make = (depth: number): [text: string, value: number] => {
      if (depth === 0) {
        const value = next(2000) / 8;
        return [String(value), value];
      }
      const [left, a] = make(depth - 1);
      const [right, b] = make(depth - 1);
      const sign = "+-*/"[next(4)] ?? "+";
      const value = { "+": a + b, "-": a - b, "*": a * b, "/": a / b }[sign] ?? 0;
      return [`(${left} ${sign} ${right})`, value];
    };
    let compared = 0;
    for (let round = 0; round < 500; round += 1) {
      const [text, expected] = make(1 + next(4));
      if (Number.isFinite(expected)) {
        compared += 1;
        const actual = Number(result(text));
        const error = Math.abs(actual - expected) / Math.max(1e-9, Math.abs(expected));
        // Exact differences of near numbers are where doubles err.
        expect(error < 1e-6 || Math.abs(actual - expected) < 1e-6, text).toBe(true);
      }
    }
    expect(compared).toBeGreaterThan(400);
  });
});

describe("what it cannot work out", () => {
  it.each([
    ["", /ends where a number should stand/],
    ["1 +", /ends where a number should stand/],
    ["* 2", /"\*" at 1 stands where a number should/],
    ["(1 + 2", /"\(" at 1 is not closed/],
    ["1 + 2)", /"\)" at 6 stands where an operator should/],
    ["2 pi", /"pi" at 3 .*write \* to multiply/],
    ["1,000 + 1", /"," at 2: write 1000/],
    ["1 / 0", /division by zero/],
    ["5 % 0", /division by zero/],
    ["0^-1", /division by zero/],
    ["15% of 80", /"of" .* is not known/],
    ["15%", /"%" at 3 is the remainder/],
    ["x + 1", /"x" at 1 is not known; there are .*sqrt.*pi/],
    ["sqrt 2", /write sqrt\(…\)/],
    ["sqrt(1, 2)", /sqrt takes 1 argument\(s\), not 2/],
    ["sqrt()", /sqrt takes 1 argument/],
    ["sqrt(-1)", /no real value/],
    ["(-8)^(1/3)", /not a real number/],
    ["ln(0)", /over 0/],
    ["10^400 * 10^4000", /too large/],
    ["e^1000", /too large/],
    ["1.5!", /whole number/],
    ["(-1)!", /from 0 to 500/],
    ["501!", /from 0 to 500/],
    ["gcd(1.5, 2)", /no whole number/],
    ["x = 3", /"=" at 3 is not understood; write one expression/],
    ["alert(1)", /not known/],
    ["constructor", /not known/],
    ["__proto__", /not known/],
    ["2 & 3", /"&" at 3 is not understood/],
    ["🙂", /"🙂" at 1/],
  ])("%j", (expression, message) => {
    expect(() => evaluate(expression)).toThrow(message);
  });

  it("is too long, where the longest is not", () => {
    const ones = (count: number) => "1+".repeat(count) + "1";
    const most = ones((MAX_CHARACTERS - 2) / 2);
    expect(result(most)).toBe(String(MAX_CHARACTERS / 2));
    expect(() => evaluate(`${most}++1`)).toThrow(/more than 4000 characters/);
  });

  it("is too deep, where the deepest is not", () => {
    const nested = (depth: number) => "(".repeat(depth) + "1" + ")".repeat(depth);
    expect(result(nested(MAX_DEPTH))).toBe("1");
    expect(() => evaluate(nested(MAX_DEPTH + 1))).toThrow(/more than 100 deep/);
    expect(() => evaluate("-".repeat(3000) + "1")).toThrow(/more than 100 deep/);
    expect(() => evaluate("2^".repeat(1900) + "1")).toThrow(/more than 100 deep/);
  });

  it("takes no time to refuse", () => {
    const before = performance.now();
    for (const expression of ["9^9^9^9", "2^1e300", "500!^500!", "comb(1e9, 5e8)", "1/3^9999"]) {
      try {
        evaluate(expression);
      } catch {
        // Either way.
      }
    }
    expect(performance.now() - before).toBeLessThan(10_000);
  });
});

it("says what it worked out, and whether that is all of it", async () => {
  const context = { signal: new AbortController().signal, onView: () => undefined };
  const run = (expression: string) => calculator.run({ expression }, context);
  expect((await run("0.1+0.2")).text).toBe("0.1+0.2 = 0.3");
  expect((await run("1/3")).text).toBe("1/3 ≈ 0.333333333333333");
});
