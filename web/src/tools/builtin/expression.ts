/**
 * Reads and works out an arithmetic expression, without `eval`.
 *
 *     sum     = product { ("+" | "-") product }
 *     product = signed { ("*" | "/" | "%") signed }
 *     signed  = ("+" | "-") signed | power
 *     power   = factor [ ("^" | "**") signed ]          2^3^2 is 2^9, -2^2 is -4
 *     factor  = ( number | name | name "(" sum { "," sum } ")" | "(" sum ")" ) { "!" }
 */
import {
  add,
  asDouble,
  divide,
  fraction,
  multiply,
  negate,
  power,
  remainder,
  type Value,
} from "./exact.ts";
import { CONSTANTS, factorial, FUNCTIONS } from "./functions.ts";

/** A page of text; nobody computes longer ones in one line. */
export const MAX_CHARACTERS = 4000;
/** Of parentheses and signs: each is a few frames of the stack, which has room for thousands. */
export const MAX_DEPTH = 100;
/** Decimal places of a number that stay exact; more are what no double has. */
const MAX_EXPONENT = 400;

const TOKEN =
  /\s*(?:((?:\d[\d_]*\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)|([A-Za-z_]\w*)|(\*\*|[-+*/%^(),!]))/uy;

/** As they are typed elsewhere. */
const SAME: Readonly<Record<string, string>> = {
  "×": "*",
  "·": "*",
  "⋅": "*",
  "÷": "/",
  "−": "-",
  "–": "-",
  π: "pi",
  τ: "tau",
  "√": "sqrt",
};

interface Token {
  kind: "number" | "name" | "sign" | "end";
  text: string;
  /** Where it begins, from 1. */
  at: number;
}

/** What an expression is worth. @throws Error saying what is wrong with it, and where. */
export function evaluate(expression: string): Value {
  if (expression.length > MAX_CHARACTERS) {
    throw new Error(`the expression has more than ${MAX_CHARACTERS} characters`);
  }
  const reader = new Reader(
    tokens(expression.replaceAll(/[×·⋅÷−–πτ√]/gu, (sign) => SAME[sign] ?? sign)),
  );
  const value = reader.sum(0);
  reader.end();
  const double = asDouble(value);
  if (Number.isNaN(double)) {
    throw new Error("the result is not a real number");
  }
  if (typeof value === "number" && !Number.isFinite(value)) {
    throw new Error("the result is too large (over 1.8e308)");
  }
  return value;
}

function tokens(text: string): Token[] {
  const found: Token[] = [];
  TOKEN.lastIndex = 0;
  while (TOKEN.lastIndex < text.length) {
    const start = TOKEN.lastIndex;
    const match = TOKEN.exec(text);
    if (match === null) {
      const rest = text.slice(start).trimStart();
      if (rest === "") {
        break;
      }
      const at = text.length - rest.length + 1;
      const hint = rest.startsWith("=") ? "; write one expression, without =" : "";
      throw new Error(`"${Array.from(rest)[0] ?? ""}" at ${at} is not understood${hint}`);
    }
    const [all, number, name, sign] = match;
    const piece = number ?? name ?? sign ?? "";
    const kind = number !== undefined ? "number" : name !== undefined ? "name" : "sign";
    found.push({ kind, text: piece, at: start + all.length - piece.length + 1 });
  }
  found.push({ kind: "end", text: "", at: text.length + 1 });
  return found;
}

class Reader {
  readonly #tokens: readonly Token[];
  #next = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  sum(depth: number): Value {
    let value = this.#product(depth);
    for (;;) {
      if (this.#takes("+")) {
        value = add(value, this.#product(depth));
      } else if (this.#takes("-")) {
        value = add(value, negate(this.#product(depth)));
      } else {
        return value;
      }
    }
  }

  /** @throws Error where something is left. */
  end(): void {
    const token = this.#peek();
    if (token.kind === "end") {
      return;
    }
    if (token.text === ",") {
      throw new Error(`"," at ${token.at}: write 1000, not 1,000, and 0.5, not 0,5`);
    }
    const hint = token.kind === "sign" ? "" : "; write * to multiply";
    throw new Error(`"${token.text}" at ${token.at} stands where an operator should${hint}`);
  }

  #product(depth: number): Value {
    let value = this.#signed(depth);
    for (;;) {
      const { text } = this.#peek();
      if (this.#takes("*")) {
        value = multiply(value, this.#signed(depth));
      } else if (this.#takes("/")) {
        value = divide(value, this.#signed(depth));
      } else if (text === "%" && this.#startsValue(1)) {
        this.#take();
        value = remainder(value, this.#signed(depth));
      } else if (text === "%") {
        throw new Error(
          `"%" at ${this.#peek().at} is the remainder (7 % 3); for percent, divide by 100`,
        );
      } else {
        return value;
      }
    }
  }

  #signed(depth: number): Value {
    if (depth > MAX_DEPTH) {
      throw new Error(`it is nested more than ${MAX_DEPTH} deep`);
    }
    if (this.#takes("-")) {
      return negate(this.#signed(depth + 1));
    }
    if (this.#takes("+")) {
      return this.#signed(depth + 1);
    }
    const base = this.#factor(depth);
    return this.#takes("^") || this.#takes("**") ? power(base, this.#signed(depth + 1)) : base;
  }

  #factor(depth: number): Value {
    let value = this.#single(depth);
    while (this.#takes("!")) {
      value = factorial(value);
    }
    return value;
  }

  #single(depth: number): Value {
    const token = this.#take();
    if (token.kind === "number") {
      return numberOf(token.text);
    }
    if (token.kind === "name") {
      return this.#named(token, depth);
    }
    if (token.text === "(") {
      const value = this.sum(depth + 1);
      this.#expect(")", token);
      return value;
    }
    throw new Error(
      token.kind === "end"
        ? "it ends where a number should stand"
        : `"${token.text}" at ${token.at} stands where a number should`,
    );
  }

  #named({ text, at }: Token, depth: number): Value {
    const name = text.replace(/^math_?/i, "").toLowerCase();
    const constant = Object.hasOwn(CONSTANTS, name) ? CONSTANTS[name] : undefined;
    if (constant !== undefined) {
      return constant;
    }
    const named = Object.hasOwn(FUNCTIONS, name) ? FUNCTIONS[name] : undefined;
    if (named === undefined) {
      const known = [...Object.keys(FUNCTIONS), ...Object.keys(CONSTANTS)].join(", ");
      throw new Error(`"${text}" at ${at} is not known; there are ${known}`);
    }
    const open = this.#peek();
    if (!this.#takes("(")) {
      throw new Error(`"${text}" at ${at} is a function: write ${text}(…)`);
    }
    const values: Value[] = [];
    if (this.#peek().text !== ")") {
      do {
        values.push(this.sum(depth + 1));
      } while (this.#takes(","));
    }
    this.#expect(")", open);
    const [least, most] = named.takes;
    if (values.length < least || values.length > most) {
      const wanted = least === most ? String(least) : `${least} to ${most}`;
      throw new Error(`${text} takes ${wanted} argument(s), not ${values.length}`);
    }
    return named.of(...values);
  }

  #startsValue(ahead: number): boolean {
    const token = this.#tokens[this.#next + ahead];
    return (
      token !== undefined &&
      (token.kind === "number" || token.kind === "name" || /^[-+(]$/.test(token.text))
    );
  }

  #peek(): Token {
    return this.#tokens[this.#next] ?? { kind: "end", text: "", at: 0 };
  }

  #take(): Token {
    const token = this.#peek();
    this.#next += 1;
    return token;
  }

  #takes(sign: string): boolean {
    const { kind, text } = this.#peek();
    const is = kind === "sign" && text === sign;
    this.#next += is ? 1 : 0;
    return is;
  }

  #expect(sign: string, open: Token): void {
    if (!this.#takes(sign)) {
      throw new Error(`the "(" at ${open.at} is not closed`);
    }
  }
}

/** `12_000.5e-3`, exactly; beyond what doubles reach, as a double. */
function numberOf(text: string): Value {
  const [digits = "", exponentText = "0"] = text.replaceAll("_", "").toLowerCase().split("e");
  const [whole = "", decimals = ""] = digits.split(".");
  const exponent = Number(exponentText) - decimals.length;
  if (Math.abs(exponent) > MAX_EXPONENT) {
    return Number(text.replaceAll("_", ""));
  }
  const n = BigInt(whole + decimals || "0");
  return exponent < 0
    ? fraction(n, 10n ** BigInt(-exponent))
    : fraction(n * 10n ** BigInt(exponent));
}
