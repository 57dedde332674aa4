/** The parameters that a conversation can set: how each is shown, and what the model has by itself. Pure. */
import { type ChatNumber, isChatNumber } from "../../chat/modelfile-settings.ts";
import { PARAMETERS } from "../../chat/modelfile-parameters.ts";
import type { ChatParameters } from "../../chat/types.ts";

export interface ParameterFacts {
  name: ChatNumber;
  /** Of the slider; null: whole numbers without an end, for which there is only a field. */
  slider: { least: number; most: number; step: number } | null;
  isWhole: boolean;
  /** Values that say something else than a number. */
  special: "random" | "unlimited" | null;
}

const row = (
  name: ChatNumber,
  slider: ParameterFacts["slider"],
  special: ParameterFacts["special"] = null,
): ParameterFacts => ({ name, slider, isWhole: PARAMETERS[name]?.kind === "integer", special });

/** Sliders cover what is of use; the field beside them takes all that the engines do. */
export const PARAMETER_GROUPS = {
  choice: [
    row("temperature", { least: 0, most: 2, step: 0.05 }),
    row("top_p", { least: 0, most: 1, step: 0.01 }),
    row("top_k", { least: 0, most: 200, step: 1 }),
    row("min_p", { least: 0, most: 1, step: 0.01 }),
    row("typical_p", { least: 0, most: 1, step: 0.01 }),
    row("seed", null, "random"),
  ],
  repetition: [
    row("repeat_penalty", { least: 0.5, most: 2, step: 0.05 }),
    row("repeat_last_n", { least: -1, most: 512, step: 1 }),
    row("presence_penalty", { least: -2, most: 2, step: 0.1 }),
    row("frequency_penalty", { least: -2, most: 2, step: 0.1 }),
  ],
  length: [row("num_predict", null, "unlimited")],
} as const;

/** What counts where neither the request nor the model says: OpenAI's, then Ollama's (docs/openai.md). */
const USUAL_IN_CHAT: Readonly<Partial<Record<ChatNumber, number>>> = { temperature: 1, top_p: 1 };

/** What a model brings, from `/api/show`. */
export interface OwnDefaults {
  system: string | null;
  parameters: ChatParameters;
}

/** What holds where nothing is set: the model's own, or what is usual. */
export function ownValue(
  name: ChatNumber,
  own: OwnDefaults | null,
): { value: number; isOwn: boolean } {
  const said = own?.parameters[name];
  const usual = USUAL_IN_CHAT[name] ?? Number(PARAMETERS[name]?.usual ?? 0);
  return said === undefined ? { value: usual, isOwn: false } : { value: said, isOwn: true };
}

/** @param shown the answer of `/api/show`; what is strange in it is passed over. */
export function readOwnDefaults(shown: unknown): OwnDefaults {
  const body =
    typeof shown === "object" && shown !== null ? (shown as Record<string, unknown>) : {};
  const { system, parameters: text } = body;
  const parameters: ChatParameters = {};
  const stops: string[] = [];
  for (const line of typeof text === "string" ? text.split("\n") : []) {
    const [, name = "", written = ""] = /^(\w+)\s+(.+)$/.exec(line) ?? [];
    const value = readJson(written);
    if (isChatNumber(name) && typeof value === "number") {
      parameters[name] = value;
    } else if (name === "stop" && typeof value === "string") {
      stops.push(value);
    }
  }
  return {
    system: typeof system === "string" && system !== "" ? system : null,
    parameters: { ...parameters, ...(stops.length > 0 && { stop: stops }) },
  };
}

/** @returns null where the text is no number that the parameter takes. */
export function readNumber(name: ChatNumber, text: string): number | null {
  const facts = PARAMETERS[name];
  const value = text.trim() === "" ? NaN : Number(text.trim().replace(",", "."));
  if (facts === undefined || !(value >= facts.least && value <= facts.most)) {
    return null;
  }
  return facts.kind === "integer" && !Number.isInteger(value) ? null : value;
}

/** The parameters with one of them changed; undefined: left to the model. */
export function withNumber(
  parameters: ChatParameters,
  name: ChatNumber,
  value: number | undefined,
): ChatParameters {
  const others = without(parameters, name);
  return value === undefined ? others : { ...others, [name]: value };
}

export function without(parameters: ChatParameters, name: keyof ChatParameters): ChatParameters {
  return Object.fromEntries(Object.entries(parameters).filter(([each]) => each !== name));
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text; // Ollama writes stop texts without quotes
  }
}
