import { Ajv2020 } from "ajv/dist/2020.js";
import formats from "ajv-formats";
import { describe, expect, it, vi } from "vitest";

import type { OutputFormat } from "../../web/src/protocol.ts";
import { schemaGrammar } from "../../web/src/worker/grammar/json-schema.ts";
import { Walker, byteLevelVocabulary, numbers, sentencePieceVocabulary } from "./walk.ts";

const ajv = new Ajv2020({ strict: false });
formats(ajv);

const walker = new Walker(byteLevelVocabulary());
const WALKS = 200;
vi.setConfig({ testTimeout: 60_000 });

/** Texts that a model without any idea says when held to the format. */
async function answers(format: OutputFormat, count = WALKS, from = walker): Promise<string[]> {
  const random = numbers(1);
  const found: string[] = [];
  for (let index = 0; index < count; index++) {
    const constraint = await from.maker.make(format);
    found.push(from.walk(constraint, random));
    constraint.dispose();
  }
  return found;
}

/** Whether the format lets a text through to its end. */
async function accepts(format: OutputFormat, text: string, from = walker): Promise<boolean> {
  const constraint = await from.maker.make(format);
  try {
    for (const id of from.encode(text)) {
      if (!from.allowed(constraint).includes(id)) {
        return false;
      }
      constraint.accept(id);
    }
    return from.allowed(constraint).includes(from.stopTokenId);
  } finally {
    constraint.dispose();
  }
}

/** As tools write unions whose members say what they are. */
const TAGGED = (kind: string) => ({
  type: "object",
  properties: { kind: { const: kind } },
  required: ["kind"],
});
const IN_A = (a: object) => ({ type: "object", properties: { a }, required: ["a"] });
/** Alternatives of which two are more than may be. */
const MANY = { anyOf: Array.from({ length: 20 }, (_, maximum) => ({ type: "integer", maximum })) };
const UNEVALUATED = ["unevaluatedProperties"];

const PERSON = {
  type: "object",
  properties: {
    name: { type: "string" },
    age: { type: "integer", minimum: 0, maximum: 150 },
    tags: { type: "array", items: { type: "string" }, maxItems: 3 },
    home: { $ref: "#/$defs/place" },
  },
  required: ["name", "age"],
  $defs: {
    place: {
      type: "object",
      properties: { city: { type: "string" }, zip: { type: "string", pattern: "^[0-9]{5}$" } },
      required: ["city"],
    },
  },
};
/** The same to stand within another schema. */
const { $defs, ...MEMBER } = PERSON;

const SCHEMAS: Record<string, object> = {
  "any object": { type: "object" },
  "any array": { type: "array" },
  string: { type: "string" },
  integer: { type: "integer" },
  number: { type: "number" },
  boolean: { type: "boolean" },
  null: { type: "null" },
  "any value": {},
  "several types": { type: ["integer", "null", "string"] },
  enum: { enum: ["red", "grün", 5, null, { a: ["/"] }, 'quo"te'] },
  "enum with a type": { type: "string", enum: ["a", 5, "b"] },
  const: { const: { a: [1, "x\n"] } },
  properties: { properties: { a: { type: "integer" }, b: { type: "boolean" } }, required: ["b"] },
  "names to be quoted": {
    properties: { 'a"b': { type: "null" }, "c\\d": { type: "null" }, "é/": { type: "null" } },
    required: ['a"b', "c\\d", "é/"],
  },
  "required without properties": { type: "object", required: ["a", "b"] },
  "additionalProperties false": {
    type: "object",
    properties: { a: { type: "integer" } },
    additionalProperties: false,
  },
  "additionalProperties of a type": { type: "object", additionalProperties: { type: "integer" } },
  "additionalProperties beside properties": {
    type: "object",
    properties: { a: { type: "string" }, ab: { type: "string" }, foo: { type: "null" } },
    required: ["a"],
    additionalProperties: { type: "integer" },
  },
  patternProperties: {
    type: "object",
    patternProperties: { "^x[0-9]$": { type: "integer" } },
    additionalProperties: false,
  },
  propertyNames: { type: "object", propertyNames: { enum: ["a", "b"] } },
  "minProperties and maxProperties": { type: "object", minProperties: 1, maxProperties: 2 },
  items: { type: "array", items: { type: "integer" } },
  "minItems and maxItems": { type: "array", items: { type: "boolean" }, minItems: 2, maxItems: 4 },
  "no items": { type: "array", maxItems: 0 },
  prefixItems: { type: "array", prefixItems: [{ type: "integer" }, { enum: ["x"] }] },
  "prefixItems and items": {
    prefixItems: [{ type: "integer" }],
    items: { type: "string" },
    minItems: 2,
    maxItems: 3,
  },
  "minLength and maxLength": { type: "string", minLength: 2, maxLength: 5 },
  "long minLength": { type: "string", minLength: 20 },
  pattern: { type: "string", pattern: "^(a|bc)+-[^x]{2,3}\\d?$" },
  "pattern with what JSON escapes": { type: "string", pattern: '^["\\\\]a[ -~]\\n.$' },
  "pattern at one end": { type: "string", pattern: "^https?://" },
  minimum: { type: "integer", minimum: 7 },
  maximum: { type: "integer", maximum: -3 },
  "minimum and maximum": { type: "integer", minimum: -12, maximum: 4711 },
  "exclusive bounds": { type: "integer", exclusiveMinimum: 0, exclusiveMaximum: 3 },
  "number within bounds": { type: "number", minimum: -1.5, maximum: 12.25 },
  "number within open bounds": { type: "number", exclusiveMinimum: 0, exclusiveMaximum: 1 },
  "number from zero to one": { type: "number", minimum: 0, maximum: 1 },
  "number below": { type: "number", maximum: 0.3 },
  anyOf: { anyOf: [{ type: "integer" }, { type: "array", items: { const: 1 } }] },
  "anyOf beside properties": {
    type: "object",
    properties: { kind: { enum: ["a", "b"] } },
    required: ["kind"],
    anyOf: [
      { properties: { kind: { const: "a" }, x: { type: "integer" } }, required: ["x"] },
      { properties: { kind: { const: "b" }, y: { type: "boolean" } }, required: ["y"] },
    ],
  },
  oneOf: { oneOf: [{ type: "integer" }, { type: "string", maxLength: 3 }] },
  allOf: {
    allOf: [
      { type: "object", properties: { a: { type: "number" } }, required: ["a"] },
      { properties: { a: { minimum: 5 }, b: { type: "null" } } },
    ],
  },
  "$ref to itself": {
    type: "object",
    properties: { value: { type: "integer" }, next: { anyOf: [{ $ref: "#" }, { type: "null" }] } },
    required: ["value", "next"],
  },
  "$ref beside keywords": {
    $ref: "#/$defs/a~1b",
    maxLength: 4,
    $defs: { "a/b": { type: "string", minLength: 2 } },
  },
  nested: {
    type: "array",
    items: { type: "object", properties: { a: { type: "array", items: MEMBER } } },
    maxItems: 2,
    $defs,
  },
  person: PERSON,
  ...Object.fromEntries(
    [
      "date",
      "time",
      "date-time",
      "duration",
      "email",
      "hostname",
      "ipv4",
      "ipv6",
      "uuid",
      "uri",
    ].map((format) => [`format ${format}`, { type: "string", format }]),
  ),
};

describe("json-schema", () => {
  it.each(Object.entries(SCHEMAS))("%s: every answer fits", async (_, schema) => {
    const validate = ajv.compile(schema);
    for (const answer of await answers({ kind: "json-schema", schema })) {
      const value = JSON.parse(answer) as unknown;
      expect(validate(value), `${answer}: ${ajv.errorsText(validate.errors)}`).toBe(true);
    }
  });

  it.each<[object, string]>([
    [PERSON, '{"name": "Ann", "age": 41, "tags": ["x"], "home": {"city": "Paris"}}'],
    [PERSON, '{\n  "name": "日本\\n",\n  "age": 0\n}'],
    [{ type: "string", pattern: "^https?://" }, '"https://abc/"'],
    [{ type: "string", pattern: "abc" }, '"abc"'],
    [{ type: "string", format: "date" }, '"2024-02-29"'],
    [{ type: "number", minimum: -1.5, maximum: 12.25 }, "11.999"],
    [{ type: "number", exclusiveMinimum: 0 }, "0.5"],
    [{ type: "array", items: { type: "integer" } }, "[1, 2]"],
    [{ type: "object", properties: { a: {} }, additionalProperties: {} }, '{"a":1,"ab":[{}]}'],
  ])("%j takes %s", async (schema, text) => {
    expect(await accepts({ kind: "json-schema", schema }, text)).toBe(true);
  });

  it.each<[object, string]>([
    [PERSON, '{"name": "Ann", "age": 151}'],
    [PERSON, '{"name": "Ann", "age": 41, "other": 1}'],
    [PERSON, '{"age": 41, "name": "Ann"}'],
    [{ type: "string", maxLength: 2 }, '"abc"'],
    [{ type: "string" }, '"a\nb"'],
    [{ properties: { a: {} }, additionalProperties: { type: "null" } }, '{"a":1,"a":null}'],
    [{ type: "object", propertyNames: false }, '{"a": 1}'],
  ])("%j does not take %s", async (schema, text) => {
    expect(await accepts({ kind: "json-schema", schema }, text)).toBe(false);
  });

  it("tells which keywords an answer may break", () => {
    const schema = { type: "array", uniqueItems: true, items: { multipleOf: 3, format: "iri" } };
    expect(schemaGrammar(schema).unheld).toEqual(["uniqueItems", "multipleOf", "format iri"]);
  });

  it.each([
    [{ if: false, else: { const: 1 } }, ["if"]],
    [{ unevaluatedProperties: false }, ["unevaluatedProperties"]],
    [{ type: "array", items: { $dynamicRef: "#items" } }, ["$dynamicRef"]],
    [{ unevaluatedItems: true, not: false, uniqueItems: false }, []],
    [{ allOf: [{ unevaluatedProperties: true }, { unevaluatedProperties: false }] }, UNEVALUATED],
    [{ allOf: [{ pattern: "^a" }, { pattern: "b$" }] }, ["pattern"]],
    [{ allOf: [{ pattern: "^a" }, { pattern: "^a" }] }, []],
    [{ properties: { foo: {} }, patternProperties: { "f.o": {} } }, ["patternProperties"]],
    [{ properties: { foo: {} }, patternProperties: { "^b": {} } }, []],
    [{ patternProperties: { "^a": true, "^ab": { type: "null" } } }, ["patternProperties"]],
    [{ patternProperties: { "^a-": true, "^b-": { type: "null" } } }, []],
    [{ patternProperties: { "^a": false } }, ["patternProperties"]],
    [{ patternProperties: { "^a": false }, additionalProperties: false }, []],
    [{ properties: { foo: {} }, propertyNames: { maxLength: 2 } }, ["propertyNames"]],
    [{ type: "object", minProperties: 2 }, ["minProperties"]],
    [{ enum: [1, 20, "a"], minimum: 10, minItems: 1 }, ["minimum beside listed values"]],
  ])("says what it does not hold, whatever its value: %j", (schema, unheld) => {
    expect(schemaGrammar(schema).unheld).toEqual(unheld);
  });

  it.each<[string, unknown[]]>([
    ["types", [{ type: "string" }, { type: "number" }, { type: ["null", "boolean"] }]],
    ["values", [{ const: 1 }, { enum: [2, "a"] }, { type: "boolean" }]],
    ["the type of a value", [{ type: "string" }, { enum: [1, null] }]],
    ["a required property", [TAGGED("cat"), TAGGED("dog"), { $ref: "#/$defs/bird" }]],
    ["a property of a property", [IN_A(TAGGED("cat")), IN_A(TAGGED("dog"))]],
    [
      "types, one of them holding itself",
      [{ type: "null" }, { type: "array", items: { $ref: "#" } }],
    ],
  ])("holds a oneOf whose options differ in %s", (_what, oneOf) => {
    const whole = { oneOf, $defs: { bird: TAGGED("bird") } };
    expect(schemaGrammar(whole).unheld).toEqual([]);
    expect(schemaGrammar({ ...whole, description: "", allOf: [true] }).unheld).toEqual([]);
  });

  it.each<[string, unknown[]]>([
    ["types", [{ type: "integer" }, { type: "number" }]],
    ["values", [{ enum: [1, 2] }, { enum: [2, 3] }]],
    ["the type of a value", [{ type: "string" }, { enum: [1, "a"] }]],
    ["a property that may be missing", [{ ...TAGGED("cat"), required: [] }, IN_A({})]],
    ["a property of what need not be an object", [{ ...TAGGED("cat"), type: undefined }, {}]],
    ["too many to look at", [MANY, MANY]],
  ])("says that options of a oneOf may fit the same: %s", (_what, oneOf) => {
    expect(schemaGrammar(JSON.parse(JSON.stringify({ oneOf }))).unheld).toEqual(["oneOf"]);
  });

  it("counts characters only as far as it does not take seconds", () => {
    const string = (maxLength: number) => ({ type: "string", maxLength });
    const properties = (lengths: number[]) => ({
      properties: Object.fromEntries(lengths.map((length, index) => [index, string(length)])),
    });
    expect(schemaGrammar(properties([40, 40, 40, 40])).unheld).toEqual([]);
    expect(schemaGrammar(string(1000)).unheld).toHaveLength(1);
    expect(schemaGrammar(properties([40, 41, 42])).unheld).toHaveLength(1);
  });
});

describe("other formats", () => {
  it("json is an object", async () => {
    for (const answer of await answers({ kind: "json" })) {
      expect(typeof JSON.parse(answer)).toBe("object");
      expect(answer.startsWith("{")).toBe(true);
    }
  });

  it.each([
    "(yes|no)[.!]?",
    "\\d{3}-[a-f]+",
    "^é+(?:🪟|日)?$",
    "a*b|c.",
    "[^a-z\\d]{1,4}",
    "[\\]\\-^]x",
  ])("regex %s", async (pattern) => {
    for (const answer of await answers({ kind: "regex", pattern })) {
      expect(answer).toMatch(new RegExp(`^(?:${pattern})$`, "u"));
    }
  });

  it("choice: each of them, also where one begins another", async () => {
    const choices = ["yes", "yes, sir", "no", 'a "b"\n', "日本"];
    const found = new Set(await answers({ kind: "choice", choices }));
    expect([...found].toSorted()).toEqual(choices.toSorted());
  });

  const names = `
    # a list of names
    root ::= item ("," ws item)* "\\n"
    item ::= [a-c]{2,3} | "x" [^\\x00-\\x7F] | [éß]+ # a comment
    ws ::= " "?
  `;
  const json = String.raw`
    root   ::= object
    value  ::= object | array | string | number | ("true" | "false" | "null") ws
    object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
    array  ::= "[" ws ( value ("," ws value)* )? "]" ws
    string ::= "\"" ([^"\\\x7F\x00-\x1F] | "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}))* "\"" ws
    number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [1-9]{1,2})? ws
    ws ::= | " " | "\n" [ \t]{0,20}
  `;
  it.each<[string, string, (answer: string) => boolean]>([
    [
      "of names",
      names,
      (answer) =>
        /^(item)(, ?item)*\n$/u.test(answer.replace(/[a-c]{2,3}|x[^\0-\x7f]|[éß]+/gu, "item")),
    ],
    ["as llama.cpp's json.gbnf", json, (answer) => typeof JSON.parse(answer) === "object"],
    ["that calls itself first", 'root ::= root "a" | "b"', (answer) => /^ba*$/.test(answer)],
    ["of nothing, many times", 'root ::= ("" | "a"?)* "b"', (answer) => /^a*b$/.test(answer)],
  ])("grammar %s", async (_, grammar, fits) => {
    for (const answer of await answers({ kind: "grammar", grammar })) {
      expect(fits(answer), answer).toBe(true);
    }
  });

  const tag = {
    type: "structural_tag",
    format: {
      type: "triggered_tags",
      triggers: ["<tool_call>"],
      tags: [
        {
          begin: "<tool_call>",
          content: { type: "json_schema", json_schema: PERSON },
          end: "</tool_call>",
        },
      ],
    },
  };
  const older = {
    type: "structural_tag",
    triggers: ["<tool_call>"],
    structures: [{ begin: "<tool_call>", schema: PERSON, end: "</tool_call>" }],
  };

  it.each([tag, older])("structural tag: free until it is triggered", async (one) => {
    const constraint = await walker.maker.make({ kind: "structural-tag", tag: one });
    expect(constraint.nextMask()).toBeNull();
    // No text: it stands beside the format.
    expect(constraint.accept(walker.stopTokenId + 1)).toBe(true);
    for (const id of walker.encode("Hello, let me see. <tool_call>")) {
      expect(walker.allowed(constraint)).toContain(id);
      constraint.accept(id);
    }
    const allowed = walker.allowed(constraint).map((id) => walker.table.bytesOf(id)[0]);
    expect([...new Set(allowed)]).toEqual(["{".charCodeAt(0)]);
    constraint.dispose();
  });

  it("structural tag: what is in it fits its schema", async () => {
    const only = { type: "tag", begin: "<to", content: tag.format.tags[0]?.content, end: "call>" };
    const validate = ajv.compile(PERSON);
    for (const answer of await answers({ kind: "structural-tag", tag: only })) {
      const inside = /^<to(.*)call>$/s.exec(answer)?.[1] ?? "";
      expect(validate(JSON.parse(inside)), answer).toBe(true);
    }
  });
});

describe("SentencePiece", () => {
  const pieces = new Walker(sentencePieceVocabulary());

  it("fits, whatever the bytes", async () => {
    const validate = ajv.compile(PERSON);
    for (const answer of await answers({ kind: "json-schema", schema: PERSON }, WALKS, pieces)) {
      expect(validate(JSON.parse(answer)), answer).toBe(true);
    }
  });

  it("may begin with the space that its tokenizer takes away", async () => {
    const constraint = await pieces.maker.make({ kind: "choice", choices: ["yes"] });
    const first = pieces.allowed(constraint).map((id) => pieces.table.bytesOf(id));
    expect(first.map((bytes) => new TextDecoder().decode(bytes)).toSorted()).toEqual(
      expect.arrayContaining([" ", " yes", "ye", "yes"]),
    );
    expect(await accepts({ kind: "choice", choices: ["yes"] }, "  yes", pieces)).toBe(false);
    constraint.dispose();
  });
});

describe("an answer's end", () => {
  it("is told with the last token where nothing else could follow", async () => {
    const constraint = await walker.maker.make({ kind: "json-schema", schema: { const: {} } });
    expect(constraint.accept(walker.encode("{")[0] ?? -1)).toBe(true);
    expect(constraint.accept(walker.encode("}")[0] ?? -1)).toBe(false);
    expect(walker.allowed(constraint)).toEqual([walker.stopTokenId]);
    constraint.dispose();
  });

  it("is not where more could", async () => {
    const constraint = await walker.maker.make({ kind: "regex", pattern: "a\\}+" });
    expect(constraint.accept(walker.encode("a")[0] ?? -1)).toBe(true);
    expect(constraint.accept(walker.encode("}")[0] ?? -1)).toBe(true);
    expect(walker.allowed(constraint)).toContain(walker.stopTokenId);
    constraint.dispose();
  });

  it("a token that may not follow is an error, not a surprise", async () => {
    const constraint = await walker.maker.make({ kind: "choice", choices: ["yes"] });
    expect(() => constraint.accept(walker.encode("no")[0] ?? -1)).toThrow(/keep to its format/);
    constraint.dispose();
  });
});

function nested(depth: number): object {
  return depth === 0 ? { type: "null" } : { type: "array", items: nested(depth - 1) };
}

describe("what is refused, with the reason", () => {
  const schema = (value: unknown): OutputFormat => ({ kind: "json-schema", schema: value });
  it.each<[string, OutputFormat, RegExp]>([
    ["a schema of another kind", schema(5), /stands where a schema should/],
    ["an unknown type", schema({ type: "text" }), /no type "text"/],
    ["nothing", schema(false), /nothing fits/],
    ["no choice", schema({ enum: [] }), /nothing fits/],
    ["a contradiction", schema({ allOf: [{ type: "null" }, { type: "array" }] }), /nothing fits/],
    ["bounds without a number", schema({ type: "integer", minimum: 2, maximum: 1 }), /no number/],
    ["a deep schema", schema(nested(100)), /more than 64 schemas in each other/],
    [
      "a huge schema",
      schema({ enum: Array.from({ length: 20_000 }, (_, i) => i) }),
      /10000 values/,
    ],
    ["a far reference", schema({ $ref: "https://example.com/a" }), /\$ref "https/],
    ["a reference to nothing", schema({ $ref: "#/$defs/a" }), /nothing at \$ref/],
    [
      "a reference to itself",
      schema({ $ref: "#/$defs/a", $defs: { a: { $ref: "#/$defs/a" } } }),
      /without end/,
    ],
    ["a circle", schema({ anyOf: [{ $ref: "#" }, { type: "null" }] }), /without end/],
    ["a pattern that looks ahead", schema({ type: "string", pattern: "(?=a)b" }), /looks around/],
    [
      "alternatives of alternatives",
      schema({
        allOf: Array.from({ length: 12 }, () => ({ anyOf: [{ minimum: 1 }, { maximum: 3 }] })),
      }),
      /more than 256/,
    ],
    ["an open bracket", { kind: "regex", pattern: "(a" }, /not closed/],
    ["an open class", { kind: "regex", pattern: "[a" }, /not closed/],
    ["a closed bracket", { kind: "regex", pattern: "a)" }, /not opened/],
    ["a star of nothing", { kind: "regex", pattern: "*a" }, /nothing before/],
    ["a look behind", { kind: "regex", pattern: "(?<=a)b" }, /looks around/],
    ["a look back", { kind: "regex", pattern: "(a)\\1" }, /\\1 is not known/],
    ["many repetitions", { kind: "regex", pattern: "a{5000}" }, /more than 1000 times/],
    ["much to count", { kind: "regex", pattern: ".{0,900}" }, /counted up to more than/],
    [
      "groups in groups",
      { kind: "regex", pattern: `${"(".repeat(200)}a${")".repeat(200)}` },
      /64 groups/,
    ],
    ["a long regex", { kind: "regex", pattern: "a".repeat(20_000) }, /more than 10000/],
    ["no choices", { kind: "choice", choices: [] }, /0 choices/],
    [
      "too many choices",
      { kind: "choice", choices: Array.from({ length: 2000 }, String) },
      /2000 choices/,
    ],
    ["no grammar", { kind: "grammar", grammar: "" }, /no rule root/],
    ["an unbalanced grammar", { kind: "grammar", grammar: 'root ::= ("a"' }, /Line 1.*not closed/],
    ["an unknown rule", { kind: "grammar", grammar: "root ::= other" }, /no rule other/],
    ["a grammar of something else", { kind: "grammar", grammar: "start: A\n" }, /rule must begin/],
    ["Chinese characters", { kind: "grammar", grammar: "root ::= [一-龥]+" }, /all or at most 256/],
    ["a huge grammar", { kind: "grammar", grammar: `root ::= "${"a".repeat(100_000)}"` }, /65536/],
    ["a tag that is none", { kind: "structural-tag", tag: "tag" }, /must be an object/],
    ["an unknown tag", { kind: "structural-tag", tag: { type: "nonsense" } }, /nonsense/],
    ["a tag without an end", { kind: "structural-tag", tag: { type: "tag", begin: "a" } }, /tag/],
  ])("%s", async (_, format, reason) => {
    await expect(walker.maker.make(format)).rejects.toThrow(
      expect.objectContaining({
        code: "invalid-request",
        message: expect.stringMatching(reason) as string,
      }),
    );
    // What was refused has broken nothing.
    expect(await accepts({ kind: "choice", choices: ["yes"] }, "yes")).toBe(true);
  });

  it("a grammar that stops at nothing that a model could say", async () => {
    const vocabulary = {
      model: { vocab: { a: 0 } },
      decoder: { type: "ByteLevel" },
      added_tokens: [],
    };
    const poor = new Walker({
      ...vocabulary,
      added_tokens: [{ id: 1, content: "<|im_end|>", special: true }],
    });
    const constraint = await poor.maker.make({ kind: "regex", pattern: "ab" });
    constraint.accept(0);
    expect(() => constraint.nextMask()).toThrow(/none of this model's tokens/);
  });

  it("says what an answer is not held to", async () => {
    const warn = vi.spyOn(console, "warn").mockReturnValue();
    await walker.maker.make(schema({ type: "array", uniqueItems: true }));
    expect(warn).toHaveBeenCalledWith("The answer is not held to the schema's uniqueItems.");
    warn.mockRestore();
  });
});
