/**
 * JSON schemas as grammars: whatever the grammar lets through is JSON and fits the schema. Pure.
 *
 * It lets through less than the schema does where a grammar cannot say all of it, or where all of it
 * is not meant: properties come in the order in which they are listed, and an object that lists some
 * has no others unless it asks for them. What an answer cannot be held to is told, not hidden.
 */
import {
  COMBINING,
  MAX_NESTING,
  type Reading,
  type Schema,
  alternativesOf,
  isOfType,
  isSchema,
  listOf,
  loseOverlap,
  membersOf,
  schemaError,
  typesOf,
  valuesOf,
} from "./json-merge.ts";
import { integerNode, numberNode } from "./json-numbers.ts";
import { JsonRules, asString, inString, quotedString } from "./json-rules.ts";
import { stringNode } from "./json-strings.ts";
import { Grammar, type Node, NOTHING, choice, optional, repeat, sequence, text } from "./node.ts";
import { otherNames } from "./other-names.ts";
import { patternNode } from "./regex.ts";

/** The largest schemas of published tools have hundreds; a list of all countries has 250. */
const MAX_VALUES = 10_000;

/** Characters that are counted in one string, and in all: each costs some 10 ms to prepare. */
const MAX_COUNTED = 48;
const MAX_PLACES = 96;

/** What each type's keywords are, for schemas that name no type. */
const KEYWORDS: Readonly<Record<string, readonly string[]>> = {
  object: ["properties", "required", "additionalProperties", "patternProperties", "propertyNames"],
  array: ["items", "prefixItems", "minItems", "maxItems"],
  string: ["minLength", "maxLength", "pattern", "format"],
  number: ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"],
};
const UNHELD = [
  ...["not", "if", "dependentRequired", "dependentSchemas", "unevaluatedProperties"],
  ...["unevaluatedItems", "uniqueItems", "contains", "multipleOf", "$dynamicRef"],
];
/** Values with which such a keyword says nothing. */
const SAYS_NOTHING: Readonly<Record<string, unknown>> = {
  not: false,
  uniqueItems: false,
  unevaluatedItems: true,
  unevaluatedProperties: true,
};
const TYPES = ["object", "array", "string", "number", "boolean", "null"];

export interface SchemaGrammar {
  grammar: string;
  /** Keywords that stand in the schema and that an answer may break. */
  unheld: readonly string[];
}

/** @throws TransomError `invalid-request` for what is no schema, or nothing fits. */
export function schemaGrammar(schema: unknown): SchemaGrammar {
  const reader = new SchemaReader(schema);
  return { grammar: reader.read(), unheld: [...reader.unheld] };
}

class SchemaReader {
  readonly unheld = new Set<string>();
  readonly #whole: unknown;
  readonly #grammar = new Grammar();
  readonly #json = new JsonRules(this.#grammar);
  readonly #strings = new Map<string, Node | null>();
  #placesLeft = MAX_PLACES;
  /** The rule of each part that is referred to. */
  readonly #rules = new Map<string, Node>();
  /** Which of them is just another one, or may be. */
  readonly #sameAs = new Map<string, Set<string>>();

  readonly #reading: Reading = {
    resolve: (reference) => this.#resolve(reference),
    lose: (keyword) => this.unheld.add(keyword),
  };

  constructor(schema: unknown) {
    this.#whole = schema;
  }

  read(): string {
    requireFew(this.#whole);
    this.#grammar.define("root", this.#node(this.#whole, 0, "#"));
    for (const reference of this.#sameAs.keys()) {
      this.#requireEnd(reference, new Set());
    }
    return this.#grammar.toString();
  }

  /** @param within the reference whose very value this is, null inside of an object or array. */
  #node(schema: unknown, depth: number, within: string | null): Node {
    if (depth > MAX_NESTING) {
      throw schemaError(`it has more than ${MAX_NESTING} schemas in each other`);
    }
    if (schema === true) {
      return this.#json.value;
    }
    const keys = isSchema(schema) ? Object.keys(schema).filter((key) => SAYS.has(key)) : [];
    const [only, another] = keys;
    // A part that is only referred to may hold itself; it cannot be written out.
    if (isSchema(schema) && another === undefined) {
      if (only === "$ref") {
        return this.#reference(schema["$ref"], depth, within);
      }
      if (only === "anyOf" || only === "oneOf") {
        loseOverlap(schema, this.#reading);
        const options = listOf(schema, only).filter((option) => option !== false);
        return oneOf(options.map((option) => this.#node(option, depth + 1, within)));
      }
    }
    const plain = alternativesOf(schema, this.#reading);
    return oneOf(plain.flatMap((one) => this.#plain(one, depth)));
  }

  #reference(reference: unknown, depth: number, within: string | null): Node {
    const name = String(reference);
    if (within !== null) {
      this.#sameAs.set(within, (this.#sameAs.get(within) ?? new Set()).add(name));
    }
    const known = this.#rules.get(name);
    if (known !== undefined) {
      return known;
    }
    const rule: Node = { kind: "rule", name: this.#grammar.reserve() };
    this.#rules.set(name, rule);
    const target = this.#resolve(reference);
    this.#grammar.define(rule.name, this.#node(target, depth + 1, name));
    return rule;
  }

  /** @throws where a reference comes back to itself with nothing in between. */
  #requireEnd(reference: string, seen: ReadonlySet<string>): void {
    if (seen.has(reference)) {
      throw schemaError(`${reference} refers to itself without end`);
    }
    for (const other of this.#sameAs.get(reference) ?? []) {
      this.#requireEnd(other, new Set([...seen, reference]));
    }
  }

  #resolve(reference: unknown): unknown {
    if (typeof reference !== "string" || !/^#(\/|$)/.test(reference)) {
      throw schemaError(`$ref ${JSON.stringify(reference)} must be # or begin with #/`);
    }
    let found = this.#whole;
    for (const part of reference.split("/").slice(1)) {
      const key = decoded(part).replaceAll("~1", "/").replaceAll("~0", "~");
      const members = found as Readonly<Record<string, unknown>>;
      if (typeof found !== "object" || found === null || !Object.hasOwn(found, key)) {
        throw schemaError(`there is nothing at $ref ${reference}`);
      }
      found = members[key];
    }
    return found;
  }

  /** The options of a schema that refers to no other. */
  #plain(schema: Schema, depth: number): Node[] {
    for (const keyword of UNHELD) {
      if (keyword in schema && schema[keyword] !== SAYS_NOTHING[keyword]) {
        this.unheld.add(keyword);
      }
    }
    const types = typesOf(schema) ?? inferredTypes(schema);
    const values = valuesOf(schema);
    if (values !== null) {
      for (const [type, keywords] of Object.entries(KEYWORDS)) {
        const said = keywords.filter((keyword) => keyword in schema);
        if (values.some((value) => isOfType(value, type))) {
          said.forEach((keyword) => this.unheld.add(`${keyword} beside listed values`));
        }
      }
      return values
        .filter((value) => types.some((type) => isOfType(value, type)))
        .map((value) => text(JSON.stringify(value)));
    }
    return types.map((type) => this.#ofType(type, schema, depth));
  }

  #ofType(type: string, schema: Schema, depth: number): Node {
    switch (type) {
      case "object":
        return this.#object(schema, depth);
      case "array":
        return this.#array(schema, depth);
      case "string":
        return this.#string(schema) ?? this.#json.string;
      case "integer":
      case "number":
        return this.#number(type, schema);
      case "boolean":
        return this.#json.boolean;
      case "null":
        return text("null");
      default:
        throw schemaError(`there is no type ${JSON.stringify(type)}`);
    }
  }

  #string(schema: Schema): Node | null {
    const bounds = {
      minLength: numberOf(schema, "minLength", 0),
      maxLength: numberOf(schema, "maxLength", Infinity),
      pattern: textOf(schema, "pattern"),
      format: textOf(schema, "format"),
    };
    if (bounds.minLength > bounds.maxLength) {
      throw schemaError(`minLength ${bounds.minLength} is more than maxLength`);
    }
    // Strings with the same bounds are one rule, and cost once.
    const key = JSON.stringify(bounds);
    const known = this.#strings.get(key);
    if (known !== undefined) {
      return known;
    }
    const node = stringNode(bounds, Math.min(MAX_COUNTED, this.#placesLeft), (keyword) =>
      this.unheld.add(keyword),
    );
    const rule = node === null ? null : this.#grammar.rule(node);
    this.#strings.set(key, rule);
    this.#placesLeft -= Math.min(
      this.#placesLeft,
      bounds.maxLength <= MAX_COUNTED ? bounds.maxLength : bounds.minLength,
    );
    return rule;
  }

  #number(type: "integer" | "number", schema: Schema): Node {
    const bounds = {
      min: numberOf(schema, "minimum", -Infinity),
      max: numberOf(schema, "maximum", Infinity),
      exclusiveMin: numberOf(schema, "exclusiveMinimum", -Infinity),
      exclusiveMax: numberOf(schema, "exclusiveMaximum", Infinity),
    };
    if (Object.values(bounds).every((bound) => !Number.isFinite(bound))) {
      return this.#json[type];
    }
    return this.#grammar.rule(type === "integer" ? integerNode(bounds) : numberNode(bounds));
  }

  #array(schema: Schema, depth: number): Node {
    const least = numberOf(schema, "minItems", 0);
    const most = numberOf(schema, "maxItems", Infinity);
    // Before 2020, a list in `items` was what `prefixItems` is now.
    const isOld = Array.isArray(schema["items"]);
    const first = listOf(schema, isOld ? "items" : "prefixItems").slice(0, most);
    const others =
      schema[isOld ? "additionalItems" : "items"] ?? (least > first.length || first.length === 0);
    if (least > most || (others === false && least > first.length)) {
      throw schemaError(`minItems ${least} is more than there may be`);
    }
    const member = (part: unknown) => this.#node(part, depth + 1, null);
    if (first.length === 0) {
      return others === false || most === 0
        ? this.#json.listOf("[", NOTHING, "]", 0, 0)
        : this.#json.listOf("[", member(others), "]", least, most);
    }
    const { blanks } = this.#json;
    const comma = sequence(text(","), blanks);
    const parts = first.map((part, index) => sequence(index === 0 ? NOTHING : comma, member(part)));
    if (others !== false && most > first.length) {
      const next = sequence(comma, this.#grammar.rule(member(others)));
      parts.push(repeat(next, Math.max(0, least - first.length), most - first.length));
    }
    return sequence(text("["), blanks, ...parts, blanks, text("]"));
  }

  #object(schema: Schema, depth: number): Node {
    const properties = membersOf(schema, "properties");
    const required = new Set(listOf(schema, "required").map(String));
    const names = [...new Set([...Object.keys(properties), ...required])];
    const others = this.#others(schema, names, depth);
    if (names.length === 0) {
      return this.#map(schema, others);
    }
    for (const keyword of ["minProperties", "maxProperties"]) {
      if (keyword in schema) {
        this.unheld.add(`${keyword} beside properties`);
      }
    }
    const pairs = names.flatMap((name) => {
      const value = Object.hasOwn(properties, name)
        ? properties[name]
        : (schema["additionalProperties"] ?? true);
      const isRequired = required.has(name);
      if (value === false && !isRequired) {
        return [];
      }
      const node = this.#node(value, depth + 1, null);
      const key = text(`"${inString(name)}":`);
      return [{ isRequired, node: sequence(key, this.#json.blanks, node) }];
    });
    return this.#inOrder(pairs, others);
  }

  /** Pairs in their order, those that are not required left out or not, then any of the others. */
  #inOrder(pairs: readonly { isRequired: boolean; node: Node }[], others: Node | null): Node {
    const { blanks } = this.#json;
    const comma = sequence(text(","), blanks);
    const more = others === null ? NOTHING : repeat(sequence(comma, others), 0, Infinity);
    // What follows when there was a pair before it, and when there was none.
    let after = more;
    let first = others === null ? NOTHING : optional(sequence(others, more));
    for (const { isRequired, node } of pairs.toReversed()) {
      const rest = after.kind === "text" ? after : this.#grammar.rule(after);
      const [next, begin] = [sequence(comma, node, rest), sequence(node, rest)];
      first = isRequired ? begin : choice(begin, first);
      after = isRequired ? next : choice(next, rest);
    }
    return sequence(text("{"), blanks, first, blanks, text("}"));
  }

  /** An object that lists no properties. */
  #map(schema: Schema, others: Node | null): Node {
    const least = numberOf(schema, "minProperties", 0);
    const most = others === null ? 0 : numberOf(schema, "maxProperties", Infinity);
    if (least > most) {
      throw schemaError(`minProperties ${least} is more than there may be`);
    }
    if (least > 1) {
      // The same name twice is one property.
      this.unheld.add("minProperties");
    }
    return this.#json.listOf("{", others ?? NOTHING, "}", least, most);
  }

  /** A pair that is not listed, or null where there are none. */
  #others(schema: Schema, names: readonly string[], depth: number): Node | null {
    const patterns = Object.entries(membersOf(schema, "patternProperties"));
    const [additional, naming] = [schema["additionalProperties"], schema["propertyNames"] ?? true];
    const pair = (key: Node, value: unknown) =>
      sequence(key, text(":"), this.#json.blanks, this.#node(value, depth + 1, null));
    const found = patterns
      .filter(([, value]) => value !== false)
      .map(([pattern, value]) => pair(quotedString(asString(patternNode(pattern))), value));
    if (mayFitTwo(patterns, names)) {
      this.unheld.add("patternProperties");
    }
    if (naming !== true && names.length + found.length > 0) {
      this.unheld.add("propertyNames");
    }
    if (found.length > 0) {
      return this.#grammar.rule(choice(...found));
    }
    const isClosed = additional === undefined && names.length > 0;
    if (additional === false || isClosed) {
      return null;
    }
    if (naming === false) {
      return null;
    }
    if (patterns.length > 0) {
      // Names that there may not be; these are any.
      this.unheld.add("patternProperties");
    }
    const key =
      isSchema(naming) && names.length === 0
        ? this.#node({ ...naming, type: "string" }, depth + 1, null)
        : otherNames(this.#json, names);
    return this.#grammar.rule(pair(key, additional ?? true));
  }
}

const SAYS = new Set([
  ...COMBINING,
  ...["type", "enum", "const"],
  ...Object.values(KEYWORDS).flat(),
  ...UNHELD,
]);

function oneOf(options: readonly Node[]): Node {
  if (options.length === 0) {
    throw schemaError("there is a part of it that nothing fits");
  }
  return choice(...options);
}

/** A schema that names no type means the one that its keywords are about. */
function inferredTypes(schema: Schema): readonly string[] {
  const found = TYPES.filter((type) => KEYWORDS[type]?.some((keyword) => keyword in schema));
  return found.length === 0 ? TYPES : found;
}

/** Whether a name that fits a pattern may be listed, too, or fit another that says something else. */
function mayFitTwo(patterns: readonly (readonly [string, unknown])[], names: readonly string[]) {
  const all = patterns.map(([pattern, value]) => ({
    // What all names that fit it begin with, as far as that is seen at once.
    prefix: /^\^([\w-]+)$/.exec(pattern)?.[1] ?? "",
    value: JSON.stringify(value),
  }));
  return all.some(
    (one, index) =>
      names.some((name) => name.startsWith(one.prefix)) ||
      all
        .slice(index + 1)
        .filter(({ prefix }) => prefix.startsWith(one.prefix) || one.prefix.startsWith(prefix))
        .some(({ value }) => value !== one.value),
  );
}

function numberOf(schema: Schema, key: string, otherwise: number): number {
  const value = schema[key] ?? otherwise;
  if (typeof value !== "number") {
    throw schemaError(`${key} must be a number`);
  }
  return value;
}

function textOf(schema: Schema, key: string): string | null {
  const value = schema[key] ?? null;
  if (value !== null && typeof value !== "string") {
    throw schemaError(`${key} must be a text`);
  }
  return value;
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** Not by calling itself: a schema may be nested as deep as JSON goes. */
function requireFew(schema: unknown): void {
  const left = [schema];
  for (let seen = 0; left.length > 0; seen++) {
    if (seen > MAX_VALUES) {
      throw schemaError(`it has more than ${MAX_VALUES} values`);
    }
    const value = left.pop();
    if (typeof value === "object" && value !== null) {
      left.push(...(Object.values(value) as unknown[]));
    }
  }
}
