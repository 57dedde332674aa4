/**
 * The grammar of a Modelfile: its text cut into directives, and values spelled so that they read back.
 *
 * What a directive means is for `modelfile.ts`. As Ollama's parser cuts it; what differs is in
 * `models/transom_models/modelfile/modelfile.py`, word for word. Pure.
 */
import { nearMisses } from "./modelfile-parameters.ts";

/** Licences are tens of KiB each and templates less; a file of this size is something else. */
export const MAX_MODELFILE_CHARACTERS = 4 * 1024 * 1024;
export const SHOWN_CHARACTERS = 60;

export const DIRECTIVES = [
  "FROM",
  "PARAMETER",
  "TEMPLATE",
  "SYSTEM",
  "ADAPTER",
  "DRAFT",
  "LICENSE",
  "MESSAGE",
  "REQUIRES",
  "PLATFORM",
] as const;

export type DirectiveWord = (typeof DIRECTIVES)[number];

/** The text is not a Modelfile that we can use. */
export class ModelfileError extends Error {
  override readonly name = "ModelfileError";

  readonly reason: string;
  /** From 1; null: it is about the whole text. */
  readonly line: number | null;

  constructor(reason: string, line: number | null = null, text = "") {
    const where = line === null ? "Modelfile" : `Modelfile line ${line}`;
    const shown = strip(text);
    const short = shown.length > SHOWN_CHARACTERS ? `${shown.slice(0, SHOWN_CHARACTERS)}…` : shown;
    super(short === "" ? `${where}: ${reason}` : `${where}: ${JSON.stringify(short)}: ${reason}`);
    this.reason = reason;
    this.line = line;
  }
}

/** One directive and the lines that it stands on. */
export interface Directive {
  word: DirectiveWord;
  /** Of PARAMETER the name, of MESSAGE the role; else "". */
  head: string;
  value: string;
  /** From 1. */
  line: number;
  /** The line after its last, from 1. */
  end: number;
  /** Its first line, as written. */
  text: string;
}

/** The lines of a text, whatever ends them, without a byte order mark. */
export function linesOf(text: string): string[] {
  return text.replace(/^\ufeff/, "").split(/\r\n|\r|\n/);
}

/** In order. @throws ModelfileError at the first line that is none, once those before it were taken. */
export function* readDirectives(text: string): Generator<Directive, void> {
  if (text.length > MAX_MODELFILE_CHARACTERS) {
    throw new ModelfileError(
      `${text.length} characters are over the cap of ${MAX_MODELFILE_CHARACTERS}`,
    );
  }
  const lines = linesOf(text);
  for (let at = 0; at < lines.length;) {
    const first = lines[at] ?? "";
    at += 1;
    const line = stripStart(first);
    if (line !== "" && !line.startsWith("#")) {
      const directive = readDirective(line, lines, at);
      yield { ...directive, text: first };
      at = directive.end - 1;
    }
  }
}

/** @param number of the line, from 1; also where `lines` goes on behind it. */
function readDirective(
  line: string,
  lines: readonly string[],
  number: number,
): Omit<Directive, "text"> {
  const fail = (reason: string) => new ModelfileError(reason, number, line);
  const [written = ""] = /^[A-Za-z]*/.exec(line) ?? [];
  const upper = written.toUpperCase();
  const refusal = NOT_OURS[upper];
  if (refusal !== undefined) {
    throw fail(`${upper}: ${refusal}`);
  }
  const word = DIRECTIVES.find((known) => known === upper);
  let rest = line.slice(written.length);
  if (word === undefined || !/^([ \t]|$)/.test(rest)) {
    const [whole = ""] = strip(line).split(SPACES);
    const hint = nearMisses(whole.toUpperCase(), DIRECTIVES) || `; known: ${DIRECTIVES.join(", ")}`;
    throw fail(`no directive${hint}`);
  }
  if (strip(rest) === "") {
    throw fail(`${word} needs a value`);
  }
  rest = rest.replace(/^[ \t]+/, "");
  let head = "";
  if (word === "PARAMETER" || word === "MESSAGE") {
    const [, name = "", value = ""] = /^([A-Za-z0-9_]+)[ \t]+(.*)$/s.exec(rest) ?? [];
    if (strip(value) === "") {
      const form = word === "PARAMETER" ? "PARAMETER name value" : "MESSAGE role text";
      throw fail(`write ${form}`);
    }
    [head, rest] = [name, value];
  }
  const found = readValue(rest, lines, number);
  if (found === null) {
    throw fail("the quotes that open here are never closed");
  }
  return { word, head, value: found.value, line: number, end: found.next + 1 };
}

/** The plainest spelling that reads back as the value. @throws ModelfileError where there is none. */
export function spell(value: string): string {
  for (const written of [value, `"${value}"`, `"""${value}"""`]) {
    if (written !== "" && !/[\r\0]/.test(value)) {
      const [first = "", ...rest] = written.split("\n");
      const read = readValue(first, rest, 0);
      if (read?.value === value && read.next === rest.length) {
        return written;
      }
    }
  }
  throw new ModelfileError(
    "a Modelfile cannot spell this value (its grammar has no escapes)",
    null,
    value,
  );
}

/** Directives of Ollama that name code inside Ollama. */
const NOT_OURS: Readonly<Record<string, string>> = {
  RENDERER:
    "it names code inside Ollama; take the line out and give the chat template with TEMPLATE, or " +
    "leave TEMPLATE out to use the one inside the model",
  PARSER:
    "it names code inside Ollama; take the line out (tool calls and thinking are read by the chat " +
    "template's own marks)",
};

/** What Python calls white space, so that both readers trim alike. */
const SPACE =
  "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]";
const SPACES = new RegExp(`${SPACE}+`);
const STARTING = new RegExp(`^${SPACE}+`);
const ONE_SPACE = new RegExp(SPACE);

function stripStart(text: string): string {
  return text.replace(STARTING, "");
}

/** Not by an expression: those that end in `+$` take the square of a line of spaces. */
function stripEnd(text: string): string {
  let end = text.length;
  while (end > 0 && ONE_SPACE.test(text.charAt(end - 1))) {
    end -= 1;
  }
  return text.slice(0, end);
}

export function strip(text: string): string {
  return stripStart(stripEnd(text));
}

/**
 * The value that begins with `first` and may go on in `lines`, from `at`.
 *
 * @returns null when its quotes are never closed; `next`: where the next directive begins.
 */
function readValue(
  first: string,
  lines: readonly string[],
  at: number,
): { value: string; next: number } | null {
  const start = stripStart(first);
  const quotes = ['"""', '"'].find((mark) => start.startsWith(mark)) ?? "";
  const tail = stripEnd(start);
  if (quotes === "") {
    return { value: tail, next: at };
  }
  if (tail.length >= 2 * quotes.length && tail.endsWith(quotes)) {
    return { value: tail.slice(quotes.length, -quotes.length), next: at };
  }
  for (let end = at; end < lines.length; end += 1) {
    const last = stripEnd(lines[end] ?? "");
    if (last.endsWith(quotes)) {
      const body = [start.slice(quotes.length), ...lines.slice(at, end)];
      return { value: [...body, last.slice(0, -quotes.length)].join("\n"), next: end + 1 };
    }
  }
  return null;
}
