/** What every JSON text is made of, as rules that are written once and only where needed. */
import {
  type Grammar,
  type Node,
  type Range,
  choice,
  complement,
  intersection,
  optional,
  repeat,
  sequence,
  set,
  text,
} from "./node.ts";

/** A line break and four levels of two spaces. A small model left alone writes blanks for ever. */
const MAX_BLANKS = 9;
/** More digits than a double can tell apart, and 400 of them would be infinite. */
const MAX_DIGITS = 15;
const MAX_EXPONENT_DIGITS = 2;

/** What stands in a JSON string as it is. */
export const PLAIN: readonly Range[] = complement([
  [0, 0x1f],
  [0x22, 0x22],
  [0x5c, 0x5c],
]);

const BLANK: readonly Range[] = [
  [0x20, 0x20],
  [0x0a, 0x0a],
  [0x09, 0x09],
];
const DIGIT = set([0x30, 0x39]);
const HEX = set([0x30, 0x39], [0x41, 0x46], [0x61, 0x66]);
const QUOTE = text('"');
const AFTER_STRING = set([0x2c, 0x2c], [0x3a, 0x3a], [0x5d, 0x5d], [0x7d, 0x7d], ...BLANK);

export class JsonRules {
  readonly grammar: Grammar;
  readonly #names = new Map<string, Node>();

  constructor(grammar: Grammar) {
    this.grammar = grammar;
  }

  /** White space, where JSON may have it and people write it. */
  get blanks(): Node {
    return this.#once("blanks", () => repeat(set(...BLANK), 0, MAX_BLANKS));
  }

  get string(): Node {
    return this.#once("string", () => {
      const rest: Node = { kind: "rule", name: this.grammar.reserve() };
      const escape = choice(
        set(...Array.from('"\\/bfnrt', single)),
        sequence(text("u"), HEX, HEX, HEX, HEX),
      );
      // What follows a string is said here, so that tokens which end one are known beforehand.
      this.grammar.define(
        rest.name,
        choice(
          QUOTE,
          sequence({ kind: "set", ranges: PLAIN }, rest),
          sequence(text("\\"), this.grammar.rule(escape), rest),
        ),
        AFTER_STRING,
      );
      return sequence(QUOTE, rest);
    });
  }

  get number(): Node {
    return this.#once("number", () => {
      const sign = optional(set([0x2b, 0x2b], [0x2d, 0x2d]));
      const power = repeat(DIGIT, 1, MAX_EXPONENT_DIGITS);
      const exponent = sequence(set([0x45, 0x45], [0x65, 0x65]), sign, power);
      return sequence(this.integer, optional(fraction()), optional(exponent));
    });
  }

  get integer(): Node {
    return this.#once("integer", () =>
      sequence(optional(text("-")), choice(text("0"), digitsUpTo(MAX_DIGITS))),
    );
  }

  get boolean(): Node {
    return choice(text("true"), text("false"));
  }

  /** Anything. */
  get value(): Node {
    const known = this.#names.get("value");
    if (known !== undefined) {
      return known;
    }
    const rule: Node = { kind: "rule", name: this.grammar.reserve() };
    this.#names.set("value", rule);
    this.grammar.define(
      rule.name,
      choice(this.string, this.number, this.object, this.array, this.boolean, text("null")),
    );
    return rule;
  }

  get object(): Node {
    return this.#once("object", () => {
      const pair = sequence(this.string, text(":"), this.blanks, this.value);
      return this.listOf("{", pair, "}", 0, Infinity);
    });
  }

  get array(): Node {
    return this.#once("array", () => this.listOf("[", this.value, "]", 0, Infinity));
  }

  /** Any number of items within bounds, with commas between them. */
  listOf(open: string, item: Node, close: string, min: number, max: number): Node {
    const one = this.grammar.rule(item);
    const next = sequence(text(","), this.blanks, one);
    const most = max === Infinity ? Infinity : max - 1;
    const items = sequence(one, repeat(next, Math.max(0, min - 1), most), this.blanks);
    const inside = max === 0 ? text("") : min === 0 ? optional(items) : items;
    return sequence(text(open), this.blanks, inside, text(close));
  }

  #once(name: string, make: () => Node): Node {
    const known = this.#names.get(name);
    if (known !== undefined) {
      return known;
    }
    const made = this.grammar.rule(make());
    this.#names.set(name, made);
    return made;
  }
}

/** A text's form in JSON, within the quotes. */
export function inString(value: string): string {
  return JSON.stringify(value).slice(1, -1);
}

/**
 * What may stand within quotes for a text to be like this. Of a set with characters that JSON writes
 * with a backslash only the others are left, where there are others: fewer texts, each of them good.
 */
export function asString(node: Node): Node {
  switch (node.kind) {
    case "text":
      return text(inString(node.text));
    case "set": {
      const plain = intersection(node.ranges, PLAIN);
      const all = node.ranges.flatMap(([from, to]) =>
        Array.from({ length: Math.min(to, 0x5c) - from + 1 }, (_, index) => from + index),
      );
      return plain.length > 0 || all.length === 0
        ? { kind: "set", ranges: plain }
        : choice(...all.map((codePoint) => text(inString(String.fromCodePoint(codePoint)))));
    }
    case "sequence":
      return sequence(...node.parts.map(asString));
    case "choice":
      return choice(...node.of.map(asString));
    case "repeat":
      return repeat(asString(node.of), node.min, node.max);
    case "rule":
      return node;
  }
}

export function quotedString(inside: Node): Node {
  return sequence(QUOTE, inside, QUOTE);
}

export function fraction(): Node {
  return sequence(text("."), repeat(DIGIT, 1, MAX_DIGITS));
}

/** Whole numbers from 1 on with so many digits at most. */
export function digitsUpTo(most: number): Node {
  return sequence(set([0x31, 0x39]), repeat(DIGIT, 0, most - 1));
}

export const MAX_WHOLE = 10 ** MAX_DIGITS - 1;

function single(character: string): Range {
  const codePoint = character.codePointAt(0) ?? 0;
  return [codePoint, codePoint];
}
