/**
 * Reads a block of an answer as GitHub Flavored Markdown (marked), with formulas and citations. Pure.
 *
 * Raw HTML is text: models write about HTML far more often than in it, and what they write about
 * must not vanish; nothing that an answer needs is lost, and nobody has to ask what a tag may do. The
 * one exception is <br>, for which a table's cell has no other way to begin a line.
 */
import { Lexer, Marked, type Token, type Tokens } from "marked";

import { MOST_FORMULA_CHARACTERS, MOST_MARKS } from "./limits.ts";

/** Addresses by label, as [label]: address gives them. */
export type Definitions = Lexer["tokens"]["links"];

export interface Reading {
  definitions: Definitions;
  /** How many passages the model was given: [1] up to this are citations. */
  sources: number;
}

export interface FormulaToken {
  type: "formula";
  raw: string;
  /** TeX. */
  text: string;
  isDisplay: boolean;
}

export interface CitationToken {
  type: "citation";
  raw: string;
  /** From 1 on. */
  numbers: number[];
}

export interface Read {
  tokens: Token[];
  /** Those of the reading, and the ones that this block has. */
  definitions: Definitions;
}

const CITATION = /^\[(\d{1,3}(?:\s?[,;]\s?\d{1,3}){0,9})\](?!\()/;
/** No address of a person has a longer name (RFC 5321); marked looks for one behind each of its letters. */
const NO_NAME = /^[A-Za-z0-9.!#%&'+/=?{|}-]{65,}(?<!!)/;

/** Of the block that is being read; reading is one call. */
let sources = 0;
let hasDollar = false;

const grammar = new Marked({
  gfm: true,
  async: false,
  extensions: [
    {
      name: "displayFormula",
      level: "block",
      start: (source) => /(?:^|\n) {0,3}(?:\$\$|\\\[)/.exec(source)?.index,
      tokenizer: (source) => readDisplayFormula(source),
    },
    { name: "formula", level: "inline", tokenizer: (source) => readFormula(source) },
    {
      name: "citation",
      level: "inline",
      tokenizer(source) {
        const match = sources === 0 || !source.startsWith("[") ? null : CITATION.exec(source);
        const numbers = match?.[1]?.split(/[,;]/).map(Number) ?? [];
        if (match === null || !numbers.every((number) => number >= 1 && number <= sources)) {
          return undefined;
        }
        return { type: "citation", raw: match[0], numbers } satisfies CitationToken;
      },
    },
  ],
  tokenizer: {
    html: () => undefined,
    tag(source) {
      const match = source.startsWith("<") ? this.rules.inline.tag.exec(source) : null;
      return match === null
        ? undefined
        : {
            type: "html",
            raw: match[0],
            text: match[0],
            inLink: false,
            inRawBlock: false,
            block: false,
          };
    },
    inlineText(source) {
      // marked's own rule does not stop where a formula may begin.
      const at = hasDollar ? source.indexOf("$", 1) : -1;
      const before = at < 0 ? source : source.slice(0, at);
      const match = NO_NAME.exec(before) ?? this.rules.inline.text.exec(before);
      return match === null
        ? undefined
        : { type: "text", raw: match[0], text: match[0], escaped: false };
    },
  },
});

/** True: it would take too long to read. */
export function hasTooManyMarks(source: string): boolean {
  const marks = /[*_~`$<]+|[[\]]|\\[([]/g;
  let count = 0;
  while (count <= MOST_MARKS && marks.test(source)) {
    count += 1;
  }
  return count > MOST_MARKS;
}

/** What the block says. Throws RangeError where it is nested beyond what this browser's stack holds. */
export function readBlock(source: string, reading: Reading): Read {
  sources = reading.sources;
  hasDollar = source.includes("$");
  const lexer = new Lexer(grammar.defaults);
  Object.assign(lexer.tokens.links, reading.definitions);
  const tokens = lexer.lex(source);
  return { tokens, definitions: tokens.links };
}

function readDisplayFormula(source: string): FormulaToken | undefined {
  const match = /^ {0,3}(\$\$|\\\[)/.exec(source);
  if (match === null) {
    return undefined;
  }
  const begin = match[0].length;
  const end = source.indexOf(match[1] === "$$" ? "$$" : "\\]", begin);
  const text = source.slice(begin, end);
  const rest = end < 0 ? null : /^[ \t]*(?:\n+|$)/.exec(source.slice(end + 2));
  if (rest === null || !isFormula(text)) {
    return undefined;
  }
  const raw = source.slice(0, end + 2 + rest[0].length);
  return { type: "formula", raw, text: text.trim(), isDisplay: true };
}

function readFormula(source: string): FormulaToken | undefined {
  if (source.startsWith("$$")) {
    return enclosed(source, 2, source.indexOf("$$", 2), 2, true);
  }
  if (source.startsWith("\\(")) {
    return enclosed(source, 2, source.indexOf("\\)", 2), 2, false);
  }
  if (source.startsWith("\\[")) {
    return enclosed(source, 2, source.indexOf("\\]", 2), 2, true);
  }
  return source.startsWith("$") ? readDollars(source) : undefined;
}

/**
 * `$x$`, by pandoc's rules: nothing white inside either dollar, and no digit behind the second. And
 * by ours: an amount and a word, as in "$20 (US$)", are money.
 */
function readDollars(source: string): FormulaToken | undefined {
  const match = /^\$(?![\s$])((?:\\[\s\S]|[^$\\]){0,1000}?)(?<=[^\s])\$(?![\d$])/.exec(source);
  const text = match?.[1];
  if (text === undefined || text === "" || /^\d[\d.,]*[kKmMbB]?\s+\(?\p{L}{2,}/u.test(text)) {
    return undefined;
  }
  return enclosed(source, 1, 1 + text.length, 1, false);
}

function enclosed(
  source: string,
  begin: number,
  end: number,
  closing: number,
  isDisplay: boolean,
): FormulaToken | undefined {
  const text = source.slice(begin, end);
  return end < 0 || !isFormula(text)
    ? undefined
    : { type: "formula", raw: source.slice(0, end + closing), text: text.trim(), isDisplay };
}

/** TeX has no empty lines in a formula either. */
function isFormula(text: string): boolean {
  return text.trim() !== "" && text.length <= MOST_FORMULA_CHARACTERS && !/\n[ \t]*\n/.test(text);
}

export type { Token, Tokens };
