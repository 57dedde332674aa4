/**
 * The options of a Modelfile's PARAMETER lines: names, types, ranges and Ollama's defaults.
 *
 * The same table as `models/transom_models/modelfile/parameters.py`; tests/models/modelfile_cases.json
 * holds both to it. Pure.
 */

export type ParameterValue = number | boolean | readonly string[];

export interface ParameterRow {
  kind: "integer" | "number" | "boolean" | "texts";
  /** Ollama's; null: the engine decides. */
  usual: number | boolean | null;
  least: number;
  most: number;
}

/** Every text is looked for after each token; chat models have a handful. */
export const MAX_STOPS = 64;
/** The engine holds back as much output as the longest stop text. Characters are code points. */
export const MAX_STOP_CHARACTERS = 256;
const MAX_INT32 = 2 ** 31 - 1;
const MAX_EXACT = Number.MAX_SAFE_INTEGER;

const integer = (usual: number | null, least: number, most: number): ParameterRow => ({
  kind: "integer",
  usual,
  least,
  most,
});
const number = (usual: number, least: number, most: number): ParameterRow => ({
  kind: "number",
  usual,
  least,
  most,
});

export const PARAMETERS: Readonly<Record<string, ParameterRow>> = {
  temperature: number(0.8, 0, 100),
  top_k: integer(40, -1, MAX_INT32),
  top_p: number(0.9, 0, 1),
  min_p: number(0, 0, 1),
  typical_p: number(1, 0, 1),
  seed: integer(-1, -MAX_EXACT, MAX_EXACT),
  repeat_last_n: integer(64, -1, MAX_INT32),
  repeat_penalty: number(1, 0, 100),
  presence_penalty: number(0, -2, 2),
  frequency_penalty: number(0, -2, 2),
  num_predict: integer(-1, -2, MAX_INT32),
  num_keep: integer(4, -1, MAX_INT32),
  stop: { kind: "texts", usual: null, least: 1, most: MAX_STOP_CHARACTERS },
  num_ctx: integer(null, 1, MAX_INT32),
  num_batch: integer(512, 1, MAX_INT32),
  num_gpu: integer(-1, -1, MAX_INT32),
  main_gpu: integer(null, 0, 1024),
  use_mmap: { kind: "boolean", usual: null, least: 0, most: 1 },
  num_thread: integer(0, 0, 65536),
  draft_num_predict: integer(4, 0, MAX_INT32),
};

/** What Ollama once had; passed over, as there. */
export const RETIRED: ReadonlySet<string> = new Set([
  "f16_kv",
  "logits_all",
  "low_vram",
  "mirostat",
  "mirostat_eta",
  "mirostat_tau",
  "penalize_newline",
  "use_mlock",
  "vocab_only",
]);

/** Go's strconv, which reads these values in Ollama: no spaces, no underscores, no NaN. */
const INTEGER = /^[+-]?\d{1,19}$/;
const NUMBER = /^[+-]?(\d{1,40}(\.\d{0,40})?|\.\d{1,40})(e[+-]?\d{1,3})?$/i;
const TRUE = new Set(["1", "t", "T", "TRUE", "true", "True"]);
const FALSE = new Set(["0", "f", "F", "FALSE", "false", "False"]);

/** @throws Error whose message names the option and what it takes. */
export function parseParameter(name: string, text: string): ParameterValue {
  const row = knownParameter(name);
  const refused = () => new Error(`${name} must be ${wanted(row)}, not ${shown(text)}`);
  switch (row.kind) {
    case "texts":
      return checkStops([text]);
    case "boolean":
      if (!TRUE.has(text) && !FALSE.has(text)) {
        throw refused();
      }
      return TRUE.has(text);
    case "integer":
    case "number": {
      const value = (row.kind === "integer" ? INTEGER : NUMBER).test(text) ? Number(text) : NaN;
      if (!(value >= row.least && value <= row.most)) {
        throw refused();
      }
      return value === 0 ? 0 : value; // no minus in front of it
    }
  }
}

/** Each once, in order. @throws Error as `parseParameter`. */
export function checkStops(texts: readonly string[]): readonly string[] {
  const each = [...new Set(texts)];
  if (texts.length > MAX_STOPS) {
    throw new Error(`stop has ${texts.length} texts, over the cap of ${MAX_STOPS}`);
  }
  const bad = each.find((text) => text === "" || Array.from(text).length > MAX_STOP_CHARACTERS);
  if (bad !== undefined) {
    throw new Error(`stop ${shown(bad)} must be a text of 1 to ${MAX_STOP_CHARACTERS} characters`);
  }
  return each;
}

/** "; did you mean FROM?", or nothing where no word is near. */
export function nearMisses(word: string, words: readonly string[]): string {
  const near = words
    .map((known) => ({ known, distance: distance(word.slice(0, 40), known) }))
    .filter(({ known, distance: steps }) => steps <= Math.max(1, Math.floor(known.length / 3)))
    .sort((a, b) => a.distance - b.distance)
    .slice(0, 2);
  return near.length === 0 ? "" : `; did you mean ${near.map(({ known }) => known).join(" or ")}?`;
}

function knownParameter(name: string): ParameterRow {
  const row = Object.hasOwn(PARAMETERS, name) ? PARAMETERS[name] : undefined;
  if (row === undefined) {
    const names = Object.keys(PARAMETERS);
    const hint = nearMisses(name.toLowerCase(), names) || `; known: ${names.join(", ")}`;
    throw new Error(`${shown(name)} is not a parameter${hint}`);
  }
  return row;
}

function wanted({ kind, least, most }: ParameterRow): string {
  return kind === "boolean"
    ? "true or false"
    : `a ${kind === "integer" ? "whole number" : "number"} from ${least} to ${most}`;
}

function shown(text: string): string {
  return `"${text.length > 60 ? `${text.slice(0, 60)}…` : text}"`;
}

/** Levenshtein's: letters to change, add or take away; swapped neighbours count as one. */
function distance(one: string, other: string): number {
  const rows: number[][] = [Array.from({ length: other.length + 1 }, (_, at) => at)];
  for (let i = 1; i <= one.length; i += 1) {
    const above = rows[i - 1] ?? [];
    const row = [i];
    for (let j = 1; j <= other.length; j += 1) {
      const isSame = one[i - 1] === other[j - 1];
      const isSwapped =
        i > 1 && j > 1 && one[i - 1] === other[j - 2] && one[i - 2] === other[j - 1];
      row[j] = Math.min(
        (above[j] ?? 0) + 1,
        (row[j - 1] ?? 0) + 1,
        (above[j - 1] ?? 0) + (isSame ? 0 : 1),
        isSwapped ? (rows[i - 2]?.[j - 2] ?? 0) + 1 : Infinity,
      );
    }
    rows.push(row);
  }
  return rows[one.length]?.[other.length] ?? 0;
}
