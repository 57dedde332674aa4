/**
 * What a model brings to every conversation besides its template: a system prompt, messages that
 * come first, sampling defaults and texts that end an answer. Made by a Modelfile.
 *
 * The layers are Ollama's; `docs/formats/manifests.md` describes them. Knows no network.
 */
import { TransomError } from "../errors.ts";
import type { Message, Sampling } from "../protocol.ts";
import { Reader } from "../store/json.ts";
import { LIMITS, type ParamsJson } from "../store/manifest-types.ts";

/** A message longer than this fits no context. */
const MAX_MESSAGE_LENGTH = 4 * 1024 * 1024;
const ROLES = ["system", "user", "assistant"] as const;

/** What the publisher chose; null, or nothing in `sampling`, where nothing was said. */
export interface ModelParameters {
  sampling: Partial<Sampling>;
  maxTokens: number | null;
  contextWindowSize: number | null;
  stops: readonly string[];
  /** Names that this engine has no use for. */
  unused: readonly string[];
  /** All of them, as a Modelfile says them; `stop` is a list. */
  written: Readonly<Record<string, unknown>>;
}

export interface ModelDefaults {
  system: string | null;
  messages: readonly Message[];
  parameters: ModelParameters;
}

export const NO_DEFAULTS: ModelDefaults = {
  system: null,
  messages: [],
  parameters: {
    sampling: {},
    maxTokens: null,
    contextWindowSize: null,
    stops: [],
    unused: [],
    written: {},
  },
};

/** The layers' bytes, null for one that the model does not have. */
export interface DefaultLayers {
  system: Uint8Array | null;
  messages: Uint8Array | null;
  params: Uint8Array | null;
}

/** @throws TransomError `invalid-bundle` naming the layer and the field. */
export function readDefaults({ system, messages, params }: DefaultLayers): ModelDefaults {
  return {
    system: system === null ? null : readText(system),
    messages: messages === null ? [] : readMessages(messages),
    parameters: params === null ? NO_DEFAULTS.parameters : readParameters(params),
  };
}

/**
 * The conversation as the model gets it: the system prompt, the seed messages, then what was said.
 * A conversation that begins with a system message of its own keeps that one instead.
 */
export function withDefaults(
  { system, messages: seeds }: ModelDefaults,
  messages: readonly Message[],
): readonly Message[] {
  const [first, ...others] = messages;
  if (first?.role === "system") {
    return [first, ...seeds, ...others];
  }
  const prompt: Message[] =
    system === null || system === "" ? [] : [{ role: "system", content: system }];
  return [...prompt, ...seeds, ...messages];
}

const fail = (message: string) => new TransomError("invalid-bundle", `The model's ${message}`);

function readText(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw fail("system prompt is not UTF-8.");
  }
}

function readMessages(bytes: Uint8Array): Message[] {
  const root = Reader.parse(bytes, "messages", fail);
  return root.array(LIMITS.messages).map((row) => {
    const written = row.field("role").string(MAX_MESSAGE_LENGTH);
    const role = ROLES.find((known) => known === written);
    if (role === undefined) {
      throw row.field("role").error(`must be one of ${ROLES.join(", ")}`);
    }
    return { role, content: row.field("content").string(MAX_MESSAGE_LENGTH) };
  });
}

function readParameters(bytes: Uint8Array): ModelParameters {
  const root = Reader.parse(bytes, "params", fail);
  const optional = <T>(name: keyof ParamsJson, read: (field: Reader) => T): T | null => {
    const field = root.field(name);
    return field.isMissing ? null : read(field);
  };
  const wholeNumber = (field: Reader) =>
    field.integer(Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
  // Negative numbers are Ollama's way to leave these two to chance and to the context.
  const seed = optional("seed", wholeNumber);
  const maxTokens = optional("num_predict", wholeNumber);
  const number = (name: keyof ParamsJson, least: number, most: number) =>
    optional(name, (field) => field.number(least, most));
  const topK = optional("top_k", wholeNumber);
  const stops = optional("stop", readStops) ?? [];
  return {
    sampling: said({
      temperature: number("temperature", 0, 100),
      topK: topK === null ? null : Math.max(0, topK),
      topP: number("top_p", 0, 1),
      minP: number("min_p", 0, 1),
      typicalP: number("typical_p", 0, 1),
      repeatPenalty: number("repeat_penalty", 0.01, 100),
      presencePenalty: number("presence_penalty", -2, 2),
      frequencyPenalty: number("frequency_penalty", -2, 2),
      repeatLastN: optional("repeat_last_n", wholeNumber),
      seed: seed === null || seed < 0 ? null : seed,
    }),
    maxTokens: maxTokens === null || maxTokens < 1 ? null : maxTokens,
    contextWindowSize: optional("num_ctx", (field) => field.integer(1, Number.MAX_SAFE_INTEGER)),
    stops,
    unused: root.keys().filter((name) => !USED.has(name)),
    written: {
      ...Object.fromEntries(root.keys().map((name) => [name, root.field(name).raw()])),
      ...(stops.length > 0 && { stop: stops }),
    },
  };
}

/** Only what was said, so that it may be laid over other defaults. */
function said(sampling: { [K in keyof Sampling]: Sampling[K] | null }): Partial<Sampling> {
  return Object.fromEntries(Object.entries(sampling).filter(([, value]) => value !== null));
}

const USED_NAMES: readonly (keyof ParamsJson)[] = [
  "temperature",
  "top_k",
  "top_p",
  "min_p",
  "typical_p",
  "repeat_penalty",
  "presence_penalty",
  "frequency_penalty",
  "repeat_last_n",
  "seed",
  "num_predict",
  "num_ctx",
  "stop",
];
const USED: ReadonlySet<string> = new Set(USED_NAMES);

function readStops(field: Reader): string[] {
  const rows = Array.isArray(field.raw()) ? field.array(LIMITS.stops) : [field];
  return rows.map((row) => {
    const text = row.string(LIMITS.stopChars);
    if (text === "") {
      throw row.error("must not be empty");
    }
    return text;
  });
}
