/**
 * Whether arguments fit a tool's JSON schema, as far as it is simple.
 *
 * Ajv makes code of schemas, which the page's policy forbids; and models err in simple ways: a field
 * left out, text for a number. Keywords that are not known here let everything through, as JSON Schema
 * wants it: the tool itself is the last to judge.
 */

/** Deeper ones are not looked into: schemas of servers are anybody's, and may name themselves. */
const MAX_DEPTH = 16;
/** A model mends a few at a time. */
const MAX_FAULTS = 5;
const MAX_SHOWN_CHARACTERS = 200;

type Schema = Readonly<Record<string, unknown>>;

interface Walk {
  root: Schema;
  faults: string[];
}

/** What is wrong with `value`, one sentence each, at most five; empty: nothing. */
export function faultsOf(schema: Schema, value: unknown): readonly string[] {
  const walk: Walk = { root: schema, faults: [] };
  check(schema, value, "", 0, walk);
  return walk.faults.slice(0, MAX_FAULTS);
}

function check(schema: unknown, value: unknown, path: string, depth: number, walk: Walk): void {
  if (!isObject(schema) || depth > MAX_DEPTH || walk.faults.length >= MAX_FAULTS) {
    if (schema === false) {
      walk.faults.push(`${nameOf(path)} may not be there`);
    }
    return;
  }
  const { $ref, type, enum: choices, anyOf, oneOf } = schema;
  if (typeof $ref === "string") {
    check(followed($ref, walk.root), value, path, depth + 1, walk);
  }
  const types = (Array.isArray(type) ? type : [type]).filter((one) => typeof one === "string");
  if (types.length > 0 && !types.some((one) => isOfType(value, one))) {
    walk.faults.push(
      `${nameOf(path)} must be ${types.map(article).join(" or ")}, not ${kindOf(value)}`,
    );
    return;
  }
  if (Array.isArray(choices) && !choices.some((one) => isSame(one, value))) {
    walk.faults.push(`${nameOf(path)} must be one of ${shown(choices)}`);
  }
  if ("const" in schema && !isSame(schema["const"], value)) {
    walk.faults.push(`${nameOf(path)} must be ${shown(schema["const"])}`);
  }
  for (const options of [anyOf, oneOf]) {
    if (
      Array.isArray(options) &&
      options.length > 0 &&
      !fitsOne(options, value, depth, walk.root)
    ) {
      walk.faults.push(`${nameOf(path)} fits none of the forms that it may have`);
    }
  }
  if (Array.isArray(schema["allOf"])) {
    for (const part of schema["allOf"]) {
      check(part, value, path, depth + 1, walk);
    }
  }
  if (typeof value === "number") {
    checkNumber(schema, value, path, walk);
  } else if (typeof value === "string") {
    checkCount(schema, "Length", Array.from(value).length, "characters", path, walk);
  } else if (Array.isArray(value)) {
    checkCount(schema, "Items", value.length, "items", path, walk);
    for (const [index, item] of value.entries()) {
      check(schema["items"], item, `${path}[${index}]`, depth + 1, walk);
    }
  } else if (isObject(value)) {
    checkObject(schema, value, path, depth, walk);
  }
}

function checkObject(schema: Schema, value: Schema, path: string, depth: number, walk: Walk): void {
  const properties = isObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? schema["required"] : [];
  for (const name of required) {
    if (typeof name === "string" && !Object.hasOwn(value, name)) {
      walk.faults.push(`${nameOf(join(path, name))} is missing`);
    }
  }
  for (const [name, item] of Object.entries(value)) {
    if (Object.hasOwn(properties, name)) {
      check(properties[name], item, join(path, name), depth + 1, walk);
    } else if (schema["additionalProperties"] === false && !("patternProperties" in schema)) {
      const known = Object.keys(properties);
      walk.faults.push(`${nameOf(join(path, name))} is not known; there are ${shown(known)}`);
    } else {
      check(schema["additionalProperties"], item, join(path, name), depth + 1, walk);
    }
  }
}

function checkNumber(schema: Schema, value: number, path: string, walk: Walk): void {
  const limits: [keyword: string, isBroken: (limit: number) => boolean, words: string][] = [
    ["minimum", (limit) => value < limit, "at least"],
    ["maximum", (limit) => value > limit, "at most"],
    ["exclusiveMinimum", (limit) => value <= limit, "more than"],
    ["exclusiveMaximum", (limit) => value >= limit, "less than"],
  ];
  for (const [keyword, isBroken, words] of limits) {
    const limit = schema[keyword];
    if (typeof limit === "number" && isBroken(limit)) {
      walk.faults.push(`${nameOf(path)} must be ${words} ${limit}`);
    }
  }
}

function checkCount(
  schema: Schema,
  what: "Length" | "Items",
  count: number,
  words: string,
  path: string,
  walk: Walk,
): void {
  const least = schema[`min${what}`];
  const most = schema[`max${what}`];
  if (typeof least === "number" && count < least) {
    walk.faults.push(`${nameOf(path)} must have at least ${least} ${words}`);
  }
  if (typeof most === "number" && count > most) {
    walk.faults.push(`${nameOf(path)} must have at most ${most} ${words}`);
  }
}

function fitsOne(
  options: readonly unknown[],
  value: unknown,
  depth: number,
  root: Schema,
): boolean {
  return options.some((option) => {
    const walk: Walk = { root, faults: [] };
    check(option, value, "", depth + 1, walk);
    return walk.faults.length === 0;
  });
}

/** Only within the schema (`#/$defs/…`); others are not known here. */
function followed(reference: string, root: Schema): unknown {
  if (!reference.startsWith("#/")) {
    return undefined;
  }
  let place: unknown = root;
  for (const part of reference.slice(2).split("/")) {
    const name = part.replaceAll("~1", "/").replaceAll("~0", "~");
    place = isObject(place) && Object.hasOwn(place, name) ? place[name] : undefined;
  }
  return place;
}

function isOfType(value: unknown, type: string): boolean {
  switch (type) {
    case "string":
    case "boolean":
      return typeof value === type;
    case "number":
      return typeof value === "number";
    case "integer":
      return Number.isInteger(value);
    case "null":
      return value === null;
    case "array":
      return Array.isArray(value);
    case "object":
      return isObject(value);
    default:
      return true;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isSame(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other);
}

function kindOf(value: unknown): string {
  if (value === null) {
    return "null";
  }
  return article(Array.isArray(value) ? "array" : typeof value);
}

function article(type: string): string {
  if (type === "null") {
    return type;
  }
  return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
}

function join(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}

function nameOf(path: string): string {
  return path === "" ? "the input" : `"${path.slice(0, MAX_SHOWN_CHARACTERS)}"`;
}

function shown(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > MAX_SHOWN_CHARACTERS ? `${text.slice(0, MAX_SHOWN_CHARACTERS)}…` : text;
}
