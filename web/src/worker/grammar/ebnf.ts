/**
 * Grammars that a request brings: llama.cpp's GBNF and xgrammar's EBNF, as far as they agree. Pure.
 *
 * Rules `name ::= …` of texts in quotes, characters in brackets, `.`, groups, `|`, `* + ?` and
 * `{m,n}`; comments begin with `#`; the answer is `root`. They are read and written anew for
 * xgrammar, which takes sets of characters beyond ASCII for something else, and is slow at what
 * repeats a choice.
 */
import { TransomError } from "../../errors.ts";
import {
  Grammar,
  LAST_CODE_POINT,
  MAX_DEPTH,
  type Node,
  type Range,
  choice,
  complement,
  repeat,
  sequence,
  set,
  text,
} from "./node.ts";

/** Published grammars, of whole programming languages, are below 20 KiB. */
const MAX_LENGTH = 64 * 1024;

const NAME = /[A-Za-z_][\w.-]*/y;
const BEGINS_RULE = /[A-Za-z_][\w.-]*\s*::=/y;
const BLANKS = /(?:\s|#[^\n]*)*/y;
const TIMES = /\{\s*(\d{1,6})\s*(,\s*(\d{0,6})\s*)?\}/y;
const HEX = /x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})/y;
const CONTROLS: Readonly<Record<string, number>> = { n: 10, t: 9, r: 13, "0": 0 };

/** The same grammar in xgrammar's words. @throws TransomError `invalid-request`, with the line. */
export function ebnfGrammar(source: string): string {
  return new EbnfReader(source).read();
}

class EbnfReader {
  readonly #source: string;
  readonly #grammar = new Grammar();
  /** Rules by the names that the source gives them. */
  readonly #names = new Map<string, string>();
  readonly #defined = new Set<string>();
  #at = 0;
  #depth = 0;

  constructor(source: string) {
    this.#source = source;
  }

  read(): string {
    if (this.#source.length > MAX_LENGTH) {
      throw this.#error(`it has more than ${MAX_LENGTH} characters`);
    }
    this.#skip();
    while (this.#at < this.#source.length) {
      if (!this.#isAt(BEGINS_RULE)) {
        throw this.#error("a rule must begin here, as name ::=");
      }
      const name = this.#match(NAME)?.[0] ?? "";
      this.#match(/\s*::=/y);
      if (this.#defined.has(name)) {
        throw this.#error(`the rule ${name} is there twice`);
      }
      this.#defined.add(name);
      this.#grammar.define(this.#ruleOf(name), this.#alternatives());
    }
    for (const name of ["root", ...this.#names.keys()]) {
      if (!this.#defined.has(name)) {
        throw this.#error(`there is no rule ${name}`);
      }
    }
    return this.#grammar.toString();
  }

  #ruleOf(name: string): string {
    const rule = name === "root" ? name : (this.#names.get(name) ?? this.#grammar.reserve());
    this.#names.set(name, rule);
    return rule;
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
    const parts: Node[] = [];
    this.#skip();
    while (
      this.#at < this.#source.length &&
      !"|)".includes(this.#source[this.#at] ?? "") &&
      !this.#isAt(BEGINS_RULE)
    ) {
      parts.push(this.#repeated(this.#item()));
      this.#skip();
    }
    return sequence(...parts);
  }

  #item(): Node {
    if (this.#next('"')) {
      return text(this.#quoted());
    }
    if (this.#next("[")) {
      return set(...this.#class());
    }
    if (this.#next(".")) {
      return set([0, LAST_CODE_POINT]);
    }
    if (this.#next("(")) {
      const found = this.#alternatives();
      if (!this.#next(")")) {
        throw this.#error("a bracket is not closed");
      }
      return found;
    }
    const name = this.#match(NAME)?.[0];
    if (name === undefined) {
      throw this.#error(`${JSON.stringify(this.#source[this.#at] ?? "")} is not known`);
    }
    return { kind: "rule", name: this.#ruleOf(name) };
  }

  #repeated(item: Node): Node {
    this.#skip();
    if (this.#next("*")) {
      return repeat(item, 0, Infinity);
    }
    if (this.#next("+")) {
      return repeat(item, 1, Infinity);
    }
    if (this.#next("?")) {
      return repeat(item, 0, 1);
    }
    const found = this.#match(TIMES);
    if (found === null) {
      return item;
    }
    const min = Number(found[1]);
    const max = found[2] === undefined ? min : found[3] === "" ? Infinity : Number(found[3]);
    if (min > max) {
      throw this.#error(`${found[0]} has more at least than at most`);
    }
    return repeat(item, min, max);
  }

  #quoted(): string {
    const found: number[] = [];
    while (!this.#next('"')) {
      found.push(this.#character('a " is not closed'));
    }
    return String.fromCodePoint(...found);
  }

  #class(): Range[] {
    const isNegated = this.#next("^");
    const ranges: Range[] = [];
    while (!this.#next("]")) {
      const from = this.#character("a [ is not closed");
      const isRange = this.#source[this.#at] === "-" && this.#source[this.#at + 1] !== "]";
      this.#at += isRange ? 1 : 0;
      const to = isRange ? this.#character("a [ is not closed") : from;
      if (to < from) {
        throw this.#error("a range of characters ends before it begins");
      }
      ranges.push([from, to]);
    }
    return isNegated ? complement(ranges) : ranges;
  }

  #character(whyNot: string): number {
    const codePoint = this.#source.codePointAt(this.#at);
    if (codePoint === undefined || codePoint === 10) {
      throw this.#error(whyNot);
    }
    this.#at += codePoint > 0xffff ? 2 : 1;
    if (codePoint !== 0x5c) {
      return codePoint;
    }
    const hex = this.#match(HEX);
    const written = hex?.[1] ?? hex?.[2] ?? hex?.[3];
    if (written !== undefined) {
      return Math.min(Number.parseInt(written, 16), LAST_CODE_POINT);
    }
    const character = this.#source[this.#at] ?? "";
    const control = CONTROLS[character];
    if (control === undefined && (character === "" || /[A-Za-z0-9]/.test(character))) {
      throw this.#error(`\\${character} is not known`);
    }
    this.#at++;
    return control ?? character.codePointAt(0) ?? 0;
  }

  #skip(): void {
    this.#match(BLANKS);
  }

  #next(character: string): boolean {
    const isThere = this.#source.startsWith(character, this.#at);
    this.#at += isThere ? character.length : 0;
    return isThere;
  }

  #isAt(expression: RegExp): boolean {
    expression.lastIndex = this.#at;
    return expression.test(this.#source);
  }

  #match(expression: RegExp): RegExpExecArray | null {
    expression.lastIndex = this.#at;
    const found = expression.exec(this.#source);
    this.#at += found?.[0].length ?? 0;
    return found;
  }

  #error(why: string): TransomError {
    const line = this.#source.slice(0, this.#at).split("\n").length;
    return new TransomError(
      "invalid-request",
      `Line ${line} of the grammar cannot be used: ${why}.`,
    );
  }
}
