/** The calculator: small models add up badly. */
import type { Tool } from "../types.ts";
import { written } from "./exact.ts";
import { evaluate } from "./expression.ts";

export const calculator: Tool = {
  name: "calculator",
  title: "",
  description:
    "Works out an arithmetic expression exactly. Operators: + - * / % (remainder) ^ (power) ! and " +
    "parentheses. Functions: sqrt, cbrt, abs, round(x, digits), floor, ceil, exp, ln, log (base 10), " +
    "log(x, base), log2, sin, cos, tan, asin, acos, atan, atan2 (radians; write sin(30*deg) for degrees), " +
    "min, max, sum, mean, gcd, lcm, comb(n, k), perm(n, k), factorial. Constants: pi, e, tau, phi.",
  parameters: {
    type: "object",
    properties: {
      expression: { type: "string", description: "For example: (3 + 4) * 2^10 / 7" },
    },
    required: ["expression"],
  },
  approval: "never",
  origin: "builtin",
  run(input) {
    const { expression } = input as { expression: string };
    const { text, isExact } = written(evaluate(expression));
    return Promise.resolve({ text: `${expression.trim()} ${isExact ? "=" : "≈"} ${text}` });
  },
};
