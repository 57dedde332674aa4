/**
 * Changing one thing of a Modelfile's text; comments and all else stay as somebody wrote them. So the
 * form and the text of a preset are two views of the same. Pure.
 */
import {
  type Directive,
  type DirectiveWord,
  linesOf,
  readDirectives,
  spell,
} from "./modelfile-grammar.ts";
import type { ParameterValue } from "./modelfile-parameters.ts";
import { type SeedMessage, parameterLines } from "./modelfile.ts";

/** As `writeModelfile` has them: what is new comes behind what stands before it here. */
const ORDER: readonly DirectiveWord[] = [
  "FROM",
  "ADAPTER",
  "DRAFT",
  "PLATFORM",
  "REQUIRES",
  "TEMPLATE",
  "SYSTEM",
  "PARAMETER",
  "MESSAGE",
  "LICENSE",
];

/** Each of these throws ModelfileError where the text is none, or the value has no spelling. */

export function withBase(text: string, base: string): string {
  return replaced(text, "FROM", () => true, [`FROM ${spell(base)}`]);
}

/** "" takes the lines away: then the model's own holds. */
export function withSystem(text: string, system: string): string {
  return replaced(text, "SYSTEM", () => true, system === "" ? [] : [`SYSTEM ${spell(system)}`]);
}

/** @param value undefined takes the lines away: then the model's own holds. */
export function withParameter(
  text: string,
  name: string,
  value: ParameterValue | undefined,
): string {
  const lines = value === undefined ? [] : parameterLines(name, value);
  return replaced(text, "PARAMETER", ({ head }) => head === name, lines);
}

export function withMessages(text: string, messages: readonly SeedMessage[]): string {
  const lines = messages.map(({ role, content }) => `MESSAGE ${role} ${spell(content)}`);
  return replaced(text, "MESSAGE", () => true, lines);
}

/** The text with these lines in the place of the first directive that is meant, and no other such. */
function replaced(
  text: string,
  word: DirectiveWord,
  isMeant: (directive: Directive) => boolean,
  written: readonly string[],
): string {
  const directives = [...readDirectives(text)];
  const lines = linesOf(text);
  const meant = directives.filter((each) => each.word === word && isMeant(each));
  const at = (meant[0]?.line ?? placeFor(word, directives)) - 1;
  const isGone = new Set(
    meant.flatMap(({ line, end }) =>
      Array.from({ length: end - line }, (_, row) => line - 1 + row),
    ),
  );
  const kept = (from: number, to: number) =>
    lines.slice(from, to).filter((_, row) => !isGone.has(from + row));
  return [...kept(0, at), ...written, ...kept(at, lines.length)].join("\n");
}

/** The line, from 1, that a first directive of this kind is put before. */
function placeFor(word: DirectiveWord, directives: readonly Directive[]): number {
  const rank = ORDER.indexOf(word);
  const before = directives.filter((each) => ORDER.indexOf(each.word) <= rank);
  return before.at(-1)?.end ?? 1;
}
