/** Schemas that hold at once, as one schema; what refers or offers alternatives is resolved. Pure. */
import { TransomError } from "../../errors.ts";

export type Schema = Readonly<Record<string, unknown>>;

/** Alternatives of alternatives multiply; published schemas have dozens. */
const MAX_ALTERNATIVES = 256;
/** Schemas within schemas; deeper ones would be a stack of calls too many. */
export const MAX_NESTING = 64;

/** Required properties in each other that tell two schemas apart. */
const MAX_LOOKS = 4;

/** Keywords that say what a value is by saying what other schemas it fits. */
export const COMBINING: ReadonlySet<string> = new Set(["$ref", "allOf", "anyOf", "oneOf"]);

export function isSchema(value: unknown): value is Schema {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function schemaError(why: string): TransomError {
  return new TransomError("invalid-request", `The JSON schema cannot be used: ${why}.`);
}

export interface Reading {
  readonly resolve: (reference: unknown) => unknown;
  /** Told of a keyword that what comes out does not hold; null where nobody wants to know. */
  readonly lose: ((keyword: string) => void) | null;
}

/**
 * Schemas without `$ref`, `allOf`, `anyOf` and `oneOf` of which a value fits at least one exactly
 * when it fits the given one, but for what `lose` is told; none where nothing fits.
 */
export function alternativesOf(schema: unknown, reading: Reading, depth = 0): Schema[] {
  if (depth > MAX_NESTING) {
    throw schemaError(`it has more than ${MAX_NESTING} schemas in each other`);
  }
  if (typeof schema === "boolean") {
    return schema ? [{}] : [];
  }
  if (!isSchema(schema)) {
    throw schemaError(`${JSON.stringify(schema)} stands where a schema should`);
  }
  const own = Object.entries(schema).filter(([key]) => !COMBINING.has(key));
  let found: Schema[] = [Object.fromEntries(own)];
  const both = (others: Schema[]) => {
    const pairs = found.flatMap((one) => others.map((other) => merged(one, other, reading)));
    found = pairs.filter((pair) => pair !== null);
    if (found.length > MAX_ALTERNATIVES) {
      throw schemaError(`its alternatives come to more than ${MAX_ALTERNATIVES}`);
    }
  };
  const inner = (part: unknown) => alternativesOf(part, reading, depth + 1);
  if ("$ref" in schema) {
    both(inner(reading.resolve(schema["$ref"])));
  }
  for (const part of listOf(schema, "allOf")) {
    both(inner(part));
  }
  if ("anyOf" in schema) {
    both(listOf(schema, "anyOf").flatMap(inner));
  }
  if ("oneOf" in schema) {
    both(listOf(schema, "oneOf").flatMap(inner));
    loseOverlap(schema, reading);
  }
  return found;
}

/** A value that fits two options of a `oneOf` does not fit the schema; here it will. */
export function loseOverlap(schema: Schema, { resolve, lose }: Reading): void {
  const options = listOf(schema, "oneOf");
  const mayFitBoth = (a: unknown, b: unknown) => {
    try {
      return fitsSomething({ allOf: [a, b] }, { resolve, lose: null }, 0);
    } catch {
      // Too many, or too deep, to say.
      return true;
    }
  };
  if (lose !== null && options.some((a, i) => options.slice(i + 1).some((b) => mayFitBoth(a, b)))) {
    lose("oneOf");
  }
}

/** False where types, listed values or those of a required property leave nothing. */
function fitsSomething(schema: unknown, reading: Reading, depth: number): boolean {
  if (depth > MAX_LOOKS) {
    return true;
  }
  return alternativesOf(schema, reading, depth).some((one) => {
    const types = typesOf(one);
    const fitsValue = valuesOf(one)?.some(
      (value) => types?.some((type) => isOfType(value, type)) ?? true,
    );
    const isObject = types?.every((type) => type === "object") ?? false;
    const names = isObject ? listOf(one, "required").map(String) : [];
    return (
      fitsValue !== false &&
      names.every((name) => fitsSomething(propertyOf(one, name), reading, depth + 1))
    );
  });
}

export function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "integer":
      return Number.isInteger(value);
    case "array":
      return Array.isArray(value);
    case "null":
      return value === null;
    case "object":
      return isSchema(value);
    default:
      return typeof value === type;
  }
}

export function listOf(schema: Schema, key: string): readonly unknown[] {
  const list = schema[key] ?? [];
  if (!Array.isArray(list)) {
    throw schemaError(`${key} must be a list`);
  }
  return list as unknown[];
}

export function typesOf(schema: Schema): readonly string[] | null {
  const type = schema["type"];
  if (type === undefined) {
    return null;
  }
  const types: unknown[] = Array.isArray(type) ? type : [type];
  if (!types.every((name) => typeof name === "string")) {
    throw schemaError("type must be a name or a list of names");
  }
  return types;
}

/** The values that are listed, or null. */
export function valuesOf(schema: Schema): readonly unknown[] | null {
  const listed = "enum" in schema ? listOf(schema, "enum") : null;
  if (!("const" in schema)) {
    return listed;
  }
  const only = JSON.stringify(schema["const"]);
  return listed === null || listed.some((value) => JSON.stringify(value) === only)
    ? [schema["const"]]
    : [];
}

const LARGER = new Set(["minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"]);
const SMALLER = new Set(["maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"]);

/** Of these the first of two is held. */
const ONE_OF_TWO = new Set([
  ...["pattern", "format", "patternProperties", "propertyNames", "additionalItems"],
  ...["unevaluatedProperties", "unevaluatedItems", "uniqueItems"],
]);

/** One schema for both; null where nothing fits both. */
function merged(a: Schema, b: Schema, { lose }: Reading): Schema | null {
  const found: Record<string, unknown> = { ...a };
  for (const [key, value] of Object.entries(b)) {
    const before = found[key];
    if (before === undefined) {
      found[key] = value;
    } else if (LARGER.has(key)) {
      found[key] = Math.max(Number(before), Number(value));
    } else if (SMALLER.has(key)) {
      found[key] = Math.min(Number(before), Number(value));
    } else if (key === "additionalProperties" || key === "items") {
      found[key] = bothOf(before, value);
    } else if (key === "required") {
      found[key] = [...new Set([...listOf(a, key), ...listOf(b, key)])];
    } else if (ONE_OF_TWO.has(key) && JSON.stringify(before) !== JSON.stringify(value)) {
      lose?.(key);
    }
  }
  const [types, otherTypes] = [typesOf(a), typesOf(b)];
  if (types !== null && otherTypes !== null) {
    const common = commonTypes(types, otherTypes);
    if (common.length === 0) {
      return null;
    }
    found["type"] = common;
  }
  const values = commonValues(valuesOf(a), valuesOf(b));
  if (values !== null) {
    delete found["const"];
    found["enum"] = values;
  }
  mergeMembers(found, a, b);
  return found;
}

/** Properties and first items: each must fit what either schema says of it. */
function mergeMembers(found: Record<string, unknown>, a: Schema, b: Schema): void {
  if ("properties" in a || "properties" in b) {
    const names = new Set([a, b].flatMap((one) => Object.keys(membersOf(one, "properties"))));
    found["properties"] = Object.fromEntries(
      [...names].map((name) => [name, bothOf(propertyOf(a, name), propertyOf(b, name))]),
    );
  }
  if ("prefixItems" in a || "prefixItems" in b) {
    const [first, second] = [listOf(a, "prefixItems"), listOf(b, "prefixItems")];
    found["prefixItems"] = Array.from(
      { length: Math.max(first.length, second.length) },
      (_, index) => bothOf(first[index] ?? a["items"] ?? true, second[index] ?? b["items"] ?? true),
    );
  }
}

/** Parts of a schema that have names. */
export function membersOf(schema: Schema, key: string): Schema {
  const members = schema[key] ?? {};
  if (!isSchema(members)) {
    throw schemaError(`${key} must be an object`);
  }
  return members;
}

function propertyOf(schema: Schema, name: string): unknown {
  const properties = membersOf(schema, "properties");
  return Object.hasOwn(properties, name)
    ? properties[name]
    : (schema["additionalProperties"] ?? true);
}

function bothOf(a: unknown, b: unknown): unknown {
  if (a === true || JSON.stringify(a) === JSON.stringify(b)) {
    return b;
  }
  return b === true ? a : { allOf: [a, b] };
}

function commonTypes(a: readonly string[], b: readonly string[]): string[] {
  const holds = (types: readonly string[], type: string) =>
    types.includes(type) || (type === "integer" && types.includes("number"));
  const common = [...a, ...b].filter((type) => holds(a, type) && holds(b, type));
  return [...new Set(common)];
}

function commonValues(
  a: readonly unknown[] | null,
  b: readonly unknown[] | null,
): readonly unknown[] | null {
  if (a === null || b === null) {
    return a ?? b;
  }
  const texts = new Set(b.map((value) => JSON.stringify(value)));
  return a.filter((value) => texts.has(JSON.stringify(value)));
}
