/** A preset's Modelfile as the settings of a conversation, and as a request to make a model. Pure. */
import { PARAMETERS, type ParameterValue } from "./modelfile-parameters.ts";
import { type Modelfile, type SeedMessage, writeModelfile } from "./modelfile.ts";
import type { ChatParameters } from "./types.ts";

/** What a conversation takes over from a preset. */
export interface PresetSettings {
  /** As the API calls it. */
  model: string;
  /** "": the model's own. */
  system: string;
  parameters: ChatParameters;
  /** Said before the first question. */
  messages: readonly SeedMessage[];
  /**
   * What only a model made of it would have, by its names in the Modelfile: `TEMPLATE`, `num_ctx`, …
   */
  leftOut: readonly string[];
}

const CHAT_NUMBERS = [
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "typical_p",
  "repeat_penalty",
  "repeat_last_n",
  "presence_penalty",
  "frequency_penalty",
  "seed",
  "num_predict",
] as const satisfies readonly (keyof ChatParameters)[];

export type ChatNumber = (typeof CHAT_NUMBERS)[number];

export function isChatNumber(name: string): name is ChatNumber {
  return (CHAT_NUMBERS as readonly string[]).includes(name);
}

export function settingsOf(modelfile: Modelfile): PresetSettings {
  const { base, system, parameters, messages, adapters, draft, template } = modelfile;
  const parametersOfChat: ChatParameters = {};
  for (const name of CHAT_NUMBERS) {
    const value = parameters[name];
    if (typeof value === "number") {
      parametersOfChat[name] = value;
    }
  }
  const { stop } = parameters;
  if (typeof stop === "object") {
    parametersOfChat.stop = stop;
  }
  return {
    model: base,
    system: system ?? "",
    parameters: parametersOfChat,
    messages,
    leftOut: [
      ...(adapters.length > 0 ? ["ADAPTER"] : []),
      ...(draft === null ? [] : ["DRAFT"]),
      ...(template === null ? [] : ["TEMPLATE"]),
      ...Object.keys(parameters).filter((name) => !isChatNumber(name) && name !== "stop"),
    ],
  };
}

/** The Modelfile of what a conversation is set to. @throws ModelfileError where it has no spelling. */
export function modelfileOf({
  model,
  system,
  parameters,
  messages,
}: Omit<PresetSettings, "leftOut">): string {
  const said = Object.entries(parameters as Record<string, ParameterValue | undefined>);
  const isSaid = (row: (typeof said)[number]): row is [string, ParameterValue] =>
    row[1] !== undefined && row[0] in PARAMETERS;
  return writeModelfile({
    base: model,
    adapters: [],
    draft: null,
    template: null,
    system: system === "" ? null : system,
    parameters: Object.fromEntries(said.filter(isSaid)),
    licenses: [],
    messages,
    requires: null,
    platforms: [],
    retired: [],
  });
}

/**
 * The body of `/api/create` (docs/create.md).
 *
 * @returns null where the server could not know what is meant: its ADAPTER and DRAFT lines name files.
 */
export function createRequest(name: string, modelfile: Modelfile): object | null {
  const { base, adapters, draft, template, system, parameters } = modelfile;
  const { licenses, messages, requires } = modelfile;
  if (adapters.length > 0 || draft !== null) {
    return null;
  }
  return {
    model: name,
    from: base,
    ...(system !== null && { system }),
    ...(template !== null && { template }),
    ...(requires !== null && { requires }),
    ...(Object.keys(parameters).length > 0 && { parameters }),
    ...(messages.length > 0 && { messages }),
    ...(licenses.length > 0 && { license: licenses }),
    stream: true,
  };
}
