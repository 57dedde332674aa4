/**
 * Regular expressions as grammars: the part of the language that says what a text is, without
 * looking around or back. Pure.
 *
 * An answer is matched from its first to its last character. So is a `pattern` of JSON Schema,
 * unless it is tied to one end only: then anything may stand at the other.
 */
import { TransomError } from "../../errors.ts";
import {
  LAST_CODE_POINT,
  MAX_DEPTH,
  NOTHING,
  type Node,
  type Range,
  choice,
  complement,
  repeat,
  sequence,
  set,
  text,
  union,
} from "./node.ts";

/** Patterns in published schemas are below 1 KiB. */
const MAX_LENGTH = 10_000;

const DIGITS: Range[] = [[0x30, 0x39]];
const WORD: Range[] = union([...DIGITS, [0x41, 0x5a], [0x5f, 0x5f], [0x61, 0x7a]]);
const SPACE: Range[] = union([
  [0x09, 0x0d],
  [0x20, 0x20],
]);
const CLASSES: Readonly<Record<string, readonly Range[]>> = {
  d: DIGITS,
  w: WORD,
  s: SPACE,
  D: complement(DIGITS),
  W: complement(WORD),
  S: complement(SPACE),
};
const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, f: 12, v: 11, "0": 0 };
/** And two of Unicode's, which cannot be told from all that is not ASCII. */
const LINE_BREAKS: Range[] = [
  [10, 10],
  [13, 13],
];

const ANYTHING = repeat(set([0, LAST_CODE_POINT]), 0, Infinity);

/** @throws TransomError `invalid-request` for what is no regular expression, or asks too much. */
export function regexNode(pattern: string): Node {
  return new RegexReader(pattern, false).read();
}

/** The texts that a `pattern` of JSON Schema finds itself in. */
export function patternNode(pattern: string): Node {
  return new RegexReader(pattern, true).read();
}

class RegexReader {
  readonly #pattern: string;
  readonly #isOpen: boolean;
  #at = 0;
  #depth = 0;

  constructor(pattern: string, isOpen: boolean) {
    this.#pattern = pattern;
    this.#isOpen = isOpen;
  }

  read(): Node {
    if (this.#pattern.length > MAX_LENGTH) {
      throw this.#error(`it has more than ${MAX_LENGTH} characters`);
    }
    const found = this.#alternatives();
    if (this.#at < this.#pattern.length) {
      throw this.#error("a bracket is closed that was not opened");
    }
    return found;
  }

  #alternatives(): Node {
    if (++this.#depth > MAX_DEPTH) {
      throw this.#error(`it has more than ${MAX_DEPTH} groups in each other`);
    }
    const found = [this.#sequence()];
    while (this.#next("|")) {
      found.push(this.#sequence());
    }
    this.#depth--;
    return choice(...found);
  }

  #sequence(): Node {
    const isOutermost = this.#depth === 1;
    const startsHere = isOutermost && this.#next("^");
    const parts: Node[] = [];
    let endsHere = false;
    while (this.#at < this.#pattern.length && !"|)".includes(this.#pattern[this.#at] ?? "")) {
      if (endsHere) {
        throw this.#error("$ stands inside of the text");
      }
      if (isOutermost && this.#next("$")) {
        endsHere = true;
      } else {
        parts.push(this.#repeated(this.#item()));
      }
    }
    if (this.#isOpen && startsHere !== endsHere) {
      parts.splice(startsHere ? parts.length : 0, 0, ANYTHING);
    }
    return sequence(...parts);
  }

  #item(): Node {
    const character = this.#take();
    switch (character) {
      case "(": {
        if (this.#next("?") && !this.#next(":") && !this.#name()) {
          throw this.#error("it looks around, or sets flags");
        }
        const found = this.#alternatives();
        if (!this.#next(")")) {
          throw this.#error("a bracket is not closed");
        }
        return found;
      }
      case "[":
        return set(...this.#class());
      case ".":
        return set(...complement(LINE_BREAKS));
      case "\\":
        return set(...this.#escape());
      case "*":
      case "+":
      case "?":
        throw this.#error(`${character} has nothing before it`);
      case "^":
      case "$":
        throw this.#error(`${character} stands inside of the text`);
      default:
        return text(character);
    }
  }

  #name(): boolean {
    return this.#match(/P?<[A-Za-z_]\w*>/y) !== null;
  }

  #repeated(item: Node): Node {
    const range = this.#quantifier();
    if (range === null) {
      return item;
    }
    // How much it would rather take makes no difference to what it may be.
    this.#next("?");
    if (this.#quantifier() !== null) {
      throw this.#error("a repetition is repeated");
    }
    const [min, max] = range;
    if (min > max) {
      throw this.#error(`{${min},${max}} has more at least than at most`);
    }
    return item === NOTHING ? item : repeat(item, min, max);
  }

  #quantifier(): [number, number] | null {
    if (this.#next("*")) {
      return [0, Infinity];
    }
    if (this.#next("+")) {
      return [1, Infinity];
    }
    if (this.#next("?")) {
      return [0, 1];
    }
    const found = this.#match(/\{(\d{1,6})(,(\d{0,6}))?\}/y);
    if (found === null) {
      return null;
    }
    const min = Number(found[1]);
    return [min, found[2] === undefined ? min : found[3] === "" ? Infinity : Number(found[3])];
  }

  #class(): Range[] {
    const isNegated = this.#next("^");
    const ranges: Range[] = [];
    while (!this.#next("]")) {
      const from = this.#classItem();
      const single = singleOf(from);
      const next = this.#pattern[this.#at + 1];
      if (
        single !== null &&
        this.#pattern[this.#at] === "-" &&
        next !== "]" &&
        next !== undefined
      ) {
        this.#at++;
        const to = singleOf(this.#classItem());
        if (to === null || to < single) {
          throw this.#error("a range of characters ends before it begins");
        }
        ranges.push([single, to]);
      } else {
        ranges.push(...from);
      }
    }
    return isNegated ? complement(ranges) : ranges;
  }

  #classItem(): readonly Range[] {
    const character = this.#take("a [ is not closed");
    if (character !== "\\") {
      const codePoint = character.codePointAt(0) ?? 0;
      return [[codePoint, codePoint]];
    }
    return this.#next("b") ? [[8, 8]] : this.#escape();
  }

  /** What follows a backslash. */
  #escape(): readonly Range[] {
    const hex = this.#match(/x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|u\{([0-9a-fA-F]{1,6})\}/y);
    if (hex !== null) {
      const codePoint = Number.parseInt(hex[1] ?? hex[2] ?? hex[3] ?? "", 16);
      if (codePoint > LAST_CODE_POINT) {
        throw this.#error("a character is outside of Unicode");
      }
      return [[codePoint, codePoint]];
    }
    const character = this.#take("it ends in a backslash");
    const known = CLASSES[character];
    if (known !== undefined) {
      return known;
    }
    const codePoint = CONTROLS[character] ?? character.codePointAt(0) ?? 0;
    if (!(character in CONTROLS) && /[A-Za-z0-9]/.test(character)) {
      throw this.#error(`\\${character} is not known`);
    }
    return [[codePoint, codePoint]];
  }

  #take(whyNot = "it ends too early"): string {
    const codePoint = this.#pattern.codePointAt(this.#at);
    if (codePoint === undefined) {
      throw this.#error(whyNot);
    }
    const character = String.fromCodePoint(codePoint);
    this.#at += character.length;
    return character;
  }

  #next(character: string): boolean {
    const isThere = this.#pattern.startsWith(character, this.#at);
    this.#at += isThere ? character.length : 0;
    return isThere;
  }

  #match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#pattern);
    this.#at += found?.[0].length ?? 0;
    return found;
  }

  #error(why: string): TransomError {
    const shown = this.#pattern.length > 60 ? `${this.#pattern.slice(0, 60)}…` : this.#pattern;
    return new TransomError(
      "invalid-request",
      `The regular expression ${shown} cannot be used: ${why}.`,
    );
  }
}

function singleOf(ranges: readonly Range[]): number | null {
  const [first] = ranges;
  return ranges.length === 1 && first !== undefined && first[0] === first[1] ? first[0] : null;
}
