/**
 * How a model is made to call tools: what is written for it, and what its answer is then held to.
 *
 * The forms are those of pyserver/transom_api/tools/, where each family of models has its own; which
 * form a chat template speaks is found there and told. Pure.
 */
import { TransomError } from "../errors.ts";
import type { OutputFormat } from "../protocol.ts";

export interface Tool {
  name: string;
  /** A JSON schema of the arguments, an object's. */
  parameters?: Readonly<Record<string, unknown>>;
}

/** Families by how they write calls; the generic one serves where a form has no JSON to hold to. */
export type CallForm =
  | "generic"
  | "hermes"
  | "llama"
  | "phi"
  | "granite"
  | "mistral"
  | "mistral-named"
  | "gpt-oss"
  | "deepseek"
  | "deepseek-fenced";

export interface ForcedCall {
  /** Written behind the prompt for the model; special tokens are spelled out. */
  prefill: string;
  format: OutputFormat;
  /** Whether it is in the model's own form, or in the generic one, which the prompt has to explain. */
  isOwnForm: boolean;
}

/** OpenAI's models make a few dozen calls at once at most; a list without an end fills the context. */
const MAX_CALLS = 32;
/** As many as a request may bring (OpenAI). */
const MAX_TOOLS = 128;

/**
 * @param wanted the name of the one tool that must be called; null: any of them ("required").
 * @param isParallel whether there may be several calls at once.
 * @throws TransomError `invalid-request` where there is no tool, or none of that name.
 */
export function forcedCall(
  form: CallForm,
  tools: readonly Tool[],
  wanted: string | null,
  isParallel: boolean,
): ForcedCall {
  const offered = wanted === null ? tools : tools.filter(({ name }) => name === wanted);
  if (offered.length === 0 || offered.length > MAX_TOOLS) {
    throw new TransomError(
      "invalid-request",
      wanted === null
        ? `There are ${tools.length} tools to call; there must be 1 to ${MAX_TOOLS}.`
        : `There is no tool ${JSON.stringify(wanted)} to call.`,
    );
  }
  const own = ownForm(form, offered, isParallel);
  const [prefill, schema] = own ?? ["", genericSchema(offered, isParallel)];
  return { prefill, format: { kind: "json-schema", schema }, isOwnForm: own !== null };
}

type Schema = Record<string, unknown>;

/** What is written for the model, and the schema of what follows; null where the form has none. */
function ownForm(
  form: CallForm,
  tools: readonly Tool[],
  isParallel: boolean,
): [string, Schema] | null {
  const [only, another] = tools;
  const named = (prefill: (name: string) => string): [string, Schema] | null =>
    only === undefined || another !== undefined
      ? null
      : [prefill(only.name), argumentsSchema(only)];
  switch (form) {
    case "hermes":
      return ["<tool_call>\n", callSchema(tools, "arguments")];
    case "llama":
      return ["", callSchema(tools, "parameters")];
    case "phi":
    case "granite":
      return ["<|tool_call|>", listSchema(tools, isParallel)];
    case "mistral":
      return ["[TOOL_CALLS]", listSchema(tools, isParallel)];
    case "mistral-named":
      return named((name) => `[TOOL_CALLS]${name}[ARGS]`);
    case "gpt-oss":
      return named(
        (name) => `<|channel|>commentary to=functions.${name} <|constrain|>json<|message|>`,
      );
    case "deepseek":
      return named((name) => `${DEEPSEEK_CALL}${name}${DEEPSEEK_SEPARATOR}`);
    case "deepseek-fenced":
      return named((name) => `${DEEPSEEK_CALL}function${DEEPSEEK_SEPARATOR}${name}\n\`\`\`json\n`);
    case "generic":
      return null;
  }
}

const DEEPSEEK_CALL = "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>";
const DEEPSEEK_SEPARATOR = "<｜tool▁sep｜>";

/** One call of one of the tools, as an object with name and arguments. */
function callSchema(tools: readonly Tool[], key: string): Schema {
  return withShared(tools, { anyOf: calls(tools, key) });
}

function listSchema(tools: readonly Tool[], isParallel: boolean): Schema {
  return withShared(tools, listOfCalls(tools, isParallel));
}

/** `{"tool_calls": [{"name": …, "arguments": {…}}]}` */
function genericSchema(tools: readonly Tool[], isParallel: boolean): Schema {
  return withShared(tools, closedObject({ tool_calls: listOfCalls(tools, isParallel) }));
}

function listOfCalls(tools: readonly Tool[], isParallel: boolean): Schema {
  const items = { anyOf: calls(tools, "arguments") };
  return { type: "array", items, minItems: 1, maxItems: isParallel ? MAX_CALLS : 1 };
}

function calls(tools: readonly Tool[], key: string): Schema[] {
  return tools.map(({ name }, index) =>
    closedObject({ name: { const: name }, [key]: { $ref: `#/$defs/${index}` } }),
  );
}

function closedObject(properties: Schema): Schema {
  const required = Object.keys(properties);
  return { type: "object", properties, required, additionalProperties: false };
}

/** Each tool's parameters stand whole under their number, and refer to themselves there. */
function withShared(tools: readonly Tool[], schema: Schema): Schema {
  const parts = tools.map((tool, index) => [
    String(index),
    moved(argumentsSchema(tool), `#/$defs/${index}`, 0),
  ]);
  return { ...schema, $defs: Object.fromEntries(parts) as Schema };
}

/** A tool's parameters, as an object's schema whatever they say. */
function argumentsSchema({ parameters = {} }: Tool): Schema {
  return { type: "object", ...parameters };
}

/** Deeper than any schema that can be used. */
const MAX_DEPTH = 200;

function moved(value: unknown, place: string, depth: number): unknown {
  if (depth > MAX_DEPTH) {
    throw new TransomError("invalid-request", "The parameters of a tool are nested too deep.");
  }
  if (Array.isArray(value)) {
    return value.map((item) => moved(item, place, depth + 1));
  }
  if (typeof value !== "object" || value === null) {
    return value;
  }
  const parts = Object.entries(value).map(([key, part]: [string, unknown]) => {
    const isReference = key === "$ref" && typeof part === "string";
    // litellm leaves the # out on Anthropic's route; nothing else could be meant.
    return [key, isReference ? part.replace(/^#?(?=\/|$)/, place) : moved(part, place, depth + 1)];
  });
  return Object.fromEntries(parts);
}
