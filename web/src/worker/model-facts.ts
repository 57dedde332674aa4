/** What only a loaded model can tell about itself, as the API asks for it. Pure. */
import type { OpenedModel } from "../api-protocol.ts";
import type { LoadReport } from "../protocol.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import { type ModelDefaults, NO_DEFAULTS } from "./model-defaults.ts";
import type { Talk } from "./talk.ts";
import type { TokenEngine } from "./token-engine.ts";

/** What its tokenizer knows of the tokens around a text. */
export interface EdgeTokens {
  /** "" where there is none. */
  bos: string;
  eos: string;
  /** Whether the tokenizer puts `bos` before any text by itself. */
  addsBos: boolean;
}

export interface ModelFacts extends EdgeTokens {
  vocabulary: number | null;
  parallel: number;
  /** The chat template in Jinja; null: the model continues texts. */
  template: string | null;
  defaults: ModelDefaults;
  /** The words of its terms; null: it brings none. */
  licence: string | null;
}

/** @param talk, engine null of a model that embeds. */
export function factsOf(
  tokenizer: Pick<ChatTokenizer, "vocabularySize">,
  talk: Talk | null,
  engine: TokenEngine | null,
): Omit<ModelFacts, "licence"> {
  return {
    vocabulary: talk?.config.vocabularySize ?? tokenizer.vocabularySize,
    parallel: engine?.parallel ?? 1,
    bos: talk?.bos ?? "",
    eos: talk?.eos ?? "",
    addsBos: talk?.addsBos ?? false,
    template: talk?.source ?? null,
    defaults: talk?.defaults ?? NO_DEFAULTS,
  };
}

/** @param report of its load. */
export function openedModel(
  { defaults, licence, ...facts }: ModelFacts,
  { model, engine, contextWindowSize, task, licenses }: LoadReport,
): OpenedModel {
  return {
    name: model,
    loadSeconds: 0,
    engine,
    contextTokens: contextWindowSize,
    ...facts,
    task: task === "chat" ? "generate" : "embed",
    system: defaults.system,
    messages: defaults.messages.map(({ role, content }) => [role, content] as const),
    parameters: defaults.parameters.written,
    license: licence ?? licenses,
  };
}
