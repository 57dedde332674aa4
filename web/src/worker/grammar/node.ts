/**
 * Grammars as trees, and as the text that xgrammar reads. Pure.
 *
 * xgrammar prepares each rule's masks when it compiles, but only for what it can see within the
 * rule. A repeated choice is written as a rule that calls itself at its end, `r ::= "" | a r | b r`:
 * as `(a | b)*` every step of it costs a thousand times more.
 */
import { TransomError } from "../../errors.ts";

/** Code points from the first to the last. */
export type Range = readonly [number, number];

export type Node =
  | { kind: "text"; text: string }
  | { kind: "set"; ranges: readonly Range[] }
  | { kind: "sequence"; parts: readonly Node[] }
  | { kind: "choice"; of: readonly Node[] }
  | { kind: "repeat"; of: Node; min: number; max: number }
  | { kind: "rule"; name: string };

export const LAST_CODE_POINT = 0x10ffff;
/** Half characters of UTF-16; UTF-8 has none. */
const SURROGATES: Range = [0xd800, 0xdfff];

/** Each place in a counted wide set is a whole vocabulary looked through: some 10 ms for 49 000. */
export const MAX_WIDE_PLACES = 128;
/** Past this, a set of characters is wide: most of a vocabulary begins with one of them. */
const WIDE = 128;
/** xgrammar writes each one out. */
export const MAX_REPEATS = 1000;
/** Rules in rules: xgrammar calls itself for each, on the little stack that wasm has. */
export const MAX_DEPTH = 64;

export const NOTHING: Node = { kind: "text", text: "" };

export function text(value: string): Node {
  return { kind: "text", text: value };
}

export function set(...ranges: Range[]): Node {
  return { kind: "set", ranges: union(ranges) };
}

export function sequence(...parts: Node[]): Node {
  const found: Node[] = [];
  for (const part of parts.flatMap((one) => (one.kind === "sequence" ? one.parts : [one]))) {
    const last = found.at(-1);
    if (part.kind === "text" && last?.kind === "text") {
      found.splice(-1, 1, text(last.text + part.text));
    } else if (part.kind !== "text" || part.text !== "") {
      found.push(part);
    }
  }
  const [only, ...others] = found;
  if (only === undefined) {
    return NOTHING;
  }
  return others.length === 0 ? only : { kind: "sequence", parts: found };
}

/** @throws when there is nothing to choose from. */
export function choice(...of: Node[]): Node {
  const [first, ...others] = of.flatMap((node) => (node.kind === "choice" ? node.of : [node]));
  if (first === undefined) {
    throw new Error("a choice of nothing");
  }
  return others.length === 0 ? first : { kind: "choice", of: [first, ...others] };
}

export function repeat(of: Node, min: number, max: number): Node {
  if (max === 0) {
    return NOTHING;
  }
  return min === 1 && max === 1 ? of : { kind: "repeat", of, min, max };
}

export function optional(of: Node): Node {
  return repeat(of, 0, 1);
}

/** Sorted, and joined where they touch; without surrogates. */
export function union(ranges: readonly Range[]): Range[] {
  const sorted = ranges.filter(([from, to]) => from <= to).sort(([a], [b]) => a - b);
  const joined: [number, number][] = [];
  for (const [from, to] of sorted) {
    const last = joined.at(-1);
    if (last !== undefined && from <= last[1] + 1) {
      last[1] = Math.max(last[1], to);
    } else {
      joined.push([from, to]);
    }
  }
  return joined.flatMap(([from, to]) => {
    const below: Range = [from, Math.min(to, SURROGATES[0] - 1)];
    const above: Range = [Math.max(from, SURROGATES[1] + 1), to];
    return [below, above].filter(([first, last]) => first <= last);
  });
}

export function complement(ranges: readonly Range[]): Range[] {
  const found: Range[] = [];
  let next = 0;
  for (const [from, to] of union(ranges)) {
    found.push([next, from - 1]);
    next = to + 1;
  }
  return union([...found, [next, LAST_CODE_POINT]]);
}

export function intersection(a: readonly Range[], b: readonly Range[]): Range[] {
  return complement([...complement(a), ...complement(b)]);
}

/** Rules by name, and the text of them all. The answer is what `root` says. */
export class Grammar {
  readonly #rules = new Map<string, string>();
  #widePlaces = 0;
  #next = 0;

  /** A name for a rule that `define` will say. */
  reserve(): string {
    return `r${this.#next++}`;
  }

  /** @param next what comes after it wherever it is used: a help for xgrammar, no part of it. */
  define(name: string, node: Node, next?: Node): void {
    // Names are taken in order, so that what a rule needs stands below it.
    this.#rules.set(name, "");
    const written = this.#options(node, 0).join(" | ");
    const ahead = next === undefined ? "" : ` (=${this.#write(next, 0)})`;
    this.#rules.set(name, `(${written})${ahead}`);
  }

  /** A rule that says the node, to be used in several places. */
  rule(node: Node): Node {
    const name = this.reserve();
    this.define(name, node);
    return { kind: "rule", name };
  }

  toString(): string {
    return [...this.#rules].map(([name, body]) => `${name} ::= ${body}\n`).join("");
  }

  #write(node: Node, depth: number): string {
    if (depth > MAX_DEPTH) {
      throw tooMuch(`more than ${MAX_DEPTH} groups in each other`);
    }
    switch (node.kind) {
      case "text":
        return quoted(node.text);
      case "set":
        return inBrackets(classesOf(node.ranges));
      case "rule":
        return node.name;
      case "sequence":
        return node.parts.map((part) => this.#write(part, depth + 1)).join(" ");
      case "choice":
        return inBrackets(this.#options(node, depth));
      case "repeat":
        return this.#repeat(node.of, node.min, node.max, depth + 1);
    }
  }

  #options(node: Node, depth: number): readonly string[] {
    if (node.kind === "choice") {
      return node.of.flatMap((option) => this.#options(option, depth + 1));
    }
    return node.kind === "set" ? classesOf(node.ranges) : [this.#write(node, depth)];
  }

  #repeat(of: Node, min: number, max: number, depth: number): string {
    if (min > MAX_REPEATS || (max !== Infinity && max > MAX_REPEATS)) {
      throw tooMuch(`something is repeated more than ${MAX_REPEATS} times`);
    }
    if (of.kind === "set") {
      this.#countPlaces(of.ranges, max === Infinity ? min : max);
      const [only = "", ...others] = classesOf(of.ranges);
      if (others.length === 0 && only.startsWith("[")) {
        return only + times(min, max);
      }
    }
    if (min === 0 && max === 1) {
      return `(${this.#write(of, depth)} | "")`;
    }
    const name = this.reserve();
    if (max !== Infinity) {
      this.#rules.set(name, this.#write(of, depth));
      return name + times(min, max);
    }
    const written = this.#options(of, depth).map((option) => `${option} ${name}`);
    this.#rules.set(name, ['""', ...written].join(" | "));
    if (min === 0) {
      return name;
    }
    const once = this.reserve();
    this.#rules.set(once, this.#write(of, depth));
    return `${once}${times(min, min)} ${name}`;
  }

  #countPlaces(ranges: readonly Range[], places: number): void {
    this.#widePlaces += sizeOf(ranges) > WIDE ? places : 0;
    if (this.#widePlaces > MAX_WIDE_PLACES) {
      throw tooMuch(
        `wide sets of characters are counted up to more than ${MAX_WIDE_PLACES} in all, ` +
          "which would take many seconds to prepare; use * or +",
      );
    }
  }
}

function times(min: number, max: number): string {
  if (max === Infinity) {
    return min === 0 ? "*" : min === 1 ? "+" : `{${min},}`;
  }
  return min === max ? (min === 1 ? "" : `{${min}}`) : `{${min},${max}}`;
}

function quoted(value: string): string {
  return `"${Array.from(value, (character) => escaped(character.codePointAt(0) ?? 0)).join("")}"`;
}

/**
 * A set as alternatives. xgrammar's brackets hold ASCII, or all that is not ASCII: what is said of
 * some of it, it takes for bytes. A few characters are written one by one; of more only the ASCII
 * ones are left, where there are some: fewer texts, each of them good.
 */
function classesOf(ranges: readonly Range[]): readonly string[] {
  const ascii = intersection(ranges, ASCII);
  const beyond = intersection(ranges, BEYOND_ASCII);
  const listed = ascii.length === 0 ? [] : [characterClass(ascii)];
  if (sizeOf(beyond) === sizeOf(BEYOND_ASCII)) {
    const excluded = intersection(complement(ascii), ASCII);
    return excluded.length === 0
      ? [characterClass(ASCII), characterClass(ASCII, "^")]
      : [characterClass(excluded, "^")];
  }
  if (sizeOf(beyond) <= MAX_LISTED) {
    const characters = beyond.flatMap(([from, to]) =>
      Array.from({ length: to - from + 1 }, (_, index) => String.fromCodePoint(from + index)),
    );
    return [...listed, ...characters.map(quoted)];
  }
  if (listed.length === 0) {
    throw tooMuch(
      `of characters that are not ASCII, a set holds all or at most ${MAX_LISTED}, ` +
        `not ${sizeOf(beyond)}`,
    );
  }
  return listed;
}

const ASCII: readonly Range[] = [[0, 0x7f]];
const BEYOND_ASCII: readonly Range[] = complement(ASCII);
/** Each is an alternative. */
const MAX_LISTED = 256;

function sizeOf(ranges: readonly Range[]): number {
  return ranges.reduce((sum, [from, to]) => sum + to - from + 1, 0);
}

function inBrackets(options: readonly string[]): string {
  const [only, ...others] = options;
  if (only === undefined) {
    throw tooMuch("there is a set of characters that is empty");
  }
  return others.length === 0 ? only : `(${options.join(" | ")})`;
}

function characterClass(ranges: readonly Range[], sign = ""): string {
  const written = ranges.map(([from, to]) =>
    from === to ? escaped(from) : `${escaped(from)}-${escaped(to)}`,
  );
  return `[${sign}${written.join("")}]`;
}

/** A code point as it may stand in quotes and in brackets. */
function escaped(codePoint: number): string {
  const character = String.fromCodePoint(codePoint);
  if (/^[A-Za-z0-9 _]$/.test(character)) {
    return character;
  }
  const hex = codePoint.toString(16);
  return codePoint > 0xffff ? `\\U${hex.padStart(8, "0")}` : `\\u${hex.padStart(4, "0")}`;
}

function tooMuch(why: string): TransomError {
  return new TransomError("invalid-request", `The format cannot be used: ${why}.`);
}
