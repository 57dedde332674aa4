/**
 * Structural tags: free text in which some texts begin what must be of a format, as calls of tools.
 *
 * xgrammar's own JSON (`{"type": "structural_tag", "format": …}`), or the older list of
 * `structures` and `triggers`. Schemas, grammars and regular expressions in them are written as xgrammar reads
 * them right.
 */
import { TransomError } from "../../errors.ts";
import { ebnfGrammar } from "./ebnf.ts";
import { schemaGrammar } from "./json-schema.ts";
import { Grammar } from "./node.ts";
import { regexNode } from "./regex.ts";

type Json = Readonly<Record<string, unknown>>;

/** Tags in tags; published ones have four levels. */
const MAX_DEPTH = 32;
const MAX_LENGTH = 256 * 1024;

/** The tag as xgrammar reads it. @throws TransomError `invalid-request`. */
export function structuralTag(tag: unknown, unheld: (keyword: string) => void): string {
  if (!isJson(tag)) {
    throw tagError("it must be an object");
  }
  const format = "structures" in tag ? olderFormat(tag) : (tag["format"] ?? tag);
  const json = JSON.stringify({ type: "structural_tag", format: prepared(format, unheld, 0) });
  if (json.length > MAX_LENGTH) {
    throw tagError(`it comes to more than ${MAX_LENGTH / 1024} KiB`);
  }
  return json;
}

function olderFormat({ structures, triggers }: Json): Json {
  if (!Array.isArray(structures) || !structures.every(isJson)) {
    throw tagError("structures must be a list of objects");
  }
  const tags = structures.map(({ begin, schema, end }) => {
    const content = { type: "json_schema", json_schema: schema ?? true };
    return { type: "tag", begin, content, end };
  });
  return { type: "triggered_tags", triggers, tags };
}

function prepared(format: unknown, unheld: (keyword: string) => void, depth: number): unknown {
  if (depth > MAX_DEPTH) {
    throw tagError(`it has more than ${MAX_DEPTH} formats in each other`);
  }
  if (Array.isArray(format)) {
    return format.map((part) => prepared(part, unheld, depth + 1));
  }
  if (!isJson(format)) {
    return format;
  }
  const { type, json_schema: schema, pattern } = format;
  if (type === "json_schema") {
    const made = schemaGrammar(schema);
    made.unheld.forEach(unheld);
    return { type: "grammar", grammar: made.grammar };
  }
  if (type === "grammar" && typeof format["grammar"] === "string") {
    return { type, grammar: ebnfGrammar(format["grammar"]) };
  }
  if (type === "regex" && typeof pattern === "string") {
    const grammar = new Grammar();
    grammar.define("root", regexNode(pattern));
    return { type: "grammar", grammar: grammar.toString() };
  }
  return Object.fromEntries(
    Object.entries(format).map(([key, value]) => [key, prepared(value, unheld, depth + 1)]),
  );
}

function isJson(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function tagError(why: string): TransomError {
  return new TransomError("invalid-request", `The structural tag cannot be used: ${why}.`);
}
