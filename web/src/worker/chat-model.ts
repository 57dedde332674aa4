/** A loaded model that talks: messages in, text pieces out. Template and tokenizer over an engine. */
import type { CompleteEvent } from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import type {
  ChatRequest,
  Completion,
  Constraint,
  Done,
  GenerateRequest,
  Message,
  OutputFormat,
  Sampling,
} from "../protocol.ts";
import { AnswerText } from "./answer-text.ts";
import type { ChatConfig } from "./chat-config.ts";
import type { ChatTemplate } from "./chat-template.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import { type CompletionParts, completeText, newSeed } from "./completion.ts";
import { ConstraintMaker } from "./constraint.ts";
import { type ModelDefaults, NO_DEFAULTS, withDefaults } from "./model-defaults.ts";
import { type TextEvent, speak } from "./speaking.ts";
import type { TokenEngine } from "./token-engine.ts";

export class ChatModel {
  readonly #engine: TokenEngine;
  readonly #tokenizer: ChatTokenizer;
  /** Null: a base model, which continues a text. */
  readonly #template: ChatTemplate | null;
  readonly #config: ChatConfig;
  readonly #defaults: ModelDefaults;
  #constraints: ConstraintMaker | null = null;

  constructor(
    engine: TokenEngine,
    tokenizer: ChatTokenizer,
    template: ChatTemplate | null,
    config: ChatConfig,
    defaults: ModelDefaults = NO_DEFAULTS,
  ) {
    this.#engine = engine;
    this.#tokenizer = tokenizer;
    this.#template = template;
    this.#config = config;
    this.#defaults = defaults;
  }

  get stopTokenIds(): readonly number[] {
    return this.#config.stopTokenIds;
  }

  /**
   * The ids that a conversation becomes, after the model's own system prompt and first messages.
   * Without a chat template the one message is the text to
   * continue; guessing a format would make a model answer worse and nobody know why.
   *
   * @throws TransomError `invalid-request` for more than one message without a template.
   */
  async encodeMessages(messages: ChatRequest["messages"]): Promise<number[]> {
    if (this.#template !== null) {
      const whole = withDefaults(this.#defaults, messages);
      return this.#tokenizer.encode(this.#template.render(whole));
    }
    const [only, ...others] = messages;
    if (only === undefined || others.length > 0) {
      throw new TransomError(
        "invalid-request",
        "This model has no chat template: it continues one text and keeps no conversation. " +
          "Start a new chat for each text.",
      );
    }
    return this.#tokenizer.encodeWhole(only.content);
  }

  /** The ids of a text; special tokens are those that it spells out. */
  async encodeText(text: string): Promise<number[]> {
    return this.#tokenizer.encode(text);
  }

  /** Read a text whose every token is known, for figures; see `TokenEngine.score`. */
  score(...request: Parameters<TokenEngine["score"]>): Promise<void> {
    return this.#engine.score(...request);
  }

  /**
   * What holds one answer to a format; whoever asked disposes of it after the answer.
   *
   * @throws TransomError `invalid-request` naming what is wrong with the format.
   */
  constrain(format: OutputFormat): Promise<Constraint> {
    const { table } = this.#tokenizer;
    const { vocabularySize, stopTokenIds } = this.#config;
    this.#constraints ??= new ConstraintMaker(table, vocabularySize ?? table.size, stopTokenIds);
    return this.#constraints.make(format);
  }

  /** Answer a conversation. */
  async chat(
    chatRequest: ChatRequest,
    onEvent: (event: TextEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done> {
    const { format } = chatRequest;
    const constraint = format === undefined ? undefined : await this.constrain(format);
    try {
      return await this.#answer(chatRequest, constraint, onEvent, signal);
    } finally {
      constraint?.dispose();
    }
  }

  async #answer(
    { messages, options, answeredTokenIds = [], ...more }: ChatRequest,
    constraint: Constraint | undefined,
    onEvent: (event: TextEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<Done> {
    const { overflow = "error", drafts = "off" } = more;
    const { parameters } = this.#defaults;
    const { temperature, topP } = this.#config;
    const { maxTokens = parameters.maxTokens, ...asked } = options;
    const sampling: Sampling = {
      temperature,
      topP,
      seed: newSeed(),
      ...parameters.sampling,
      ...asked,
    };
    const promptTokenIds = await this.encodeMessages(messages);
    const request: GenerateRequest = {
      promptTokenIds,
      answeredTokenIds,
      sampling,
      stopTokenIds: this.#config.stopTokenIds,
      // The context window ends the answer anyway, unless it is shifted.
      maxTokens:
        maxTokens ??
        (overflow === "shift" ? Number.MAX_SAFE_INTEGER : this.#engine.contextWindowSize),
      overflow,
      drafts,
      keepTokens: await this.#firstTokens(messages, promptTokenIds),
      ...(constraint === undefined ? {} : { constraint }),
    };
    return this.complete(request, onEvent, signal, parameters.stops);
  }

  /**
   * How many tokens come before what the user says first: the system message and what the template
   * puts there. They are found as what another conversation begins with, too.
   */
  async #firstTokens(
    messages: readonly Message[],
    promptTokenIds: readonly number[],
  ): Promise<number> {
    if (this.#template === null) {
      return 0;
    }
    const whole = withDefaults(this.#defaults, messages);
    const system = whole.filter(({ role }, index) => index === 0 && role === "system");
    try {
      const other = this.#template.render([...system, { role: "user", content: "" }]);
      const ids = await this.#tokenizer.encode(other);
      const differs = promptTokenIds.findIndex((id, index) => id !== ids[index]);
      return differs < 0 ? promptTokenIds.length : differs;
    } catch {
      // Some templates refuse an empty message; then nothing is known of the beginning.
      return 0;
    }
  }

  /**
   * Continue token ids; what `chat` does after the template.
   *
   * @param stops texts that end the answer and are no part of it.
   */
  async complete(
    request: GenerateRequest,
    onEvent: (event: TextEvent) => void,
    signal?: AbortSignal,
    stops: readonly string[] = [],
  ): Promise<Done> {
    const text = new AnswerText(this.#tokenizer.startDecoding(), stops);
    return speak(this.#engine, request, text, onEvent, signal);
  }

  /**
   * Continue a text, as the API asks for it (`completion.ts`).
   *
   * @param onEvent called for each token and each end, in each choice's order.
   */
  completeText(
    completion: Completion,
    onEvent: (event: CompleteEvent) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const parts: CompletionParts = {
      engine: this.#engine,
      tokenizer: this.#tokenizer,
      stopTokenIds: this.stopTokenIds,
      constrain: (format) => this.constrain(format),
    };
    return completeText(parts, completion, onEvent, signal);
  }

  dispose(): void {
    this.#engine.dispose();
  }
}
