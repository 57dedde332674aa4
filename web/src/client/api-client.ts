/**
 * The page's client of `/v1/chat/completions`: asks, reads the stream, and says what went wrong.
 *
 * Whether a service worker answers in this browser or a server does, it is the same HTTP; which of
 * them it was is in a header. Knows no engine and no DOM.
 */
import { TransomError, describe } from "../errors.ts";
import type { ChatRequest } from "../protocol.ts";
import { refusalOf } from "./api-errors.ts";
import { type Completion, type CompletionPiece, CompletionStream } from "./completion-stream.ts";

/** Relative to the page's folder, wherever that is. */
const CHATS = "v1/chat/completions";
/** Where a model without a chat template continues a text. */
const TEXTS = "v1/completions";

/** Counts a prompt's tokens and answers nothing. */
const COUNTS = "v1/messages/count_tokens";
const EMBEDDINGS = "v1/embeddings";

/** What a request may say beyond its messages; what is left out is the model's own choice. */
export type AskOptions = ChatRequest["options"] & {
  /** Texts at which the answer ends. */
  stop?: readonly string[];
  /** Tell each token's log-probability, and with it the token's id. */
  logprobs?: boolean;
};

/** A message as OpenAI's API takes it. */
export type ApiMessage =
  | { role: "system" | "user"; content: string | readonly ContentPart[] }
  | { role: "assistant"; content: string; reasoning_content?: string; tool_calls?: ApiToolCall[] }
  | { role: "tool"; tool_call_id: string; content: string };

export type ContentPart =
  { type: "text"; text: string } | { type: "image_url"; image_url: { url: string } };

export interface ApiToolCall {
  id: string;
  type: "function";
  function: { name: string; arguments: string };
}

/** What a model may call: OpenAI's `tools`. */
export type ApiTool = Readonly<Record<string, unknown>>;

export interface CompletionRequest {
  model: string;
  messages: readonly ApiMessage[];
  options: AskOptions;
  tools?: readonly ApiTool[];
}

/** An answer on its way. */
export interface RunningCompletion {
  done: Promise<Completion>;
  /** Ask to stop; `done` then resolves with finish reason "abort". */
  abort(): void;
}

type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export class ApiClient {
  readonly #baseUrl: string;
  readonly #fetch: Fetch;

  /** @param baseUrl of the page's folder. */
  constructor(baseUrl: string, fetch: Fetch = (url, init) => globalThis.fetch(url, init)) {
    this.#baseUrl = baseUrl;
    this.#fetch = fetch;
  }

  /**
   * How many tokens a conversation takes, with everything that its template adds.
   *
   * @throws TransomError where nobody can tell.
   */
  async countTokens(
    { model, messages }: Pick<CompletionRequest, "model" | "messages">,
    signal: AbortSignal,
  ): Promise<number> {
    const system = messages.flatMap(({ role, content }) =>
      role === "system" && typeof content === "string" ? [content] : [],
    );
    const response = await this.#post(
      COUNTS,
      {
        model,
        ...(system.length > 0 && { system: system.join("\n\n") }),
        messages: messages.filter(({ role }) => role === "user" || role === "assistant"),
      },
      signal,
      "application/json",
    );
    const { input_tokens: count } = await readObject(response);
    if (typeof count !== "number") {
      throw new TransomError("network", "Nobody counted the tokens.");
    }
    return count;
  }

  /** One vector for each text, of length 1. @throws TransomError as the API refuses. */
  async embed(
    model: string,
    texts: readonly string[],
    signal: AbortSignal,
  ): Promise<Float32Array[]> {
    const body = { model, input: texts };
    const response = await this.#post(EMBEDDINGS, body, signal, "application/json");
    const { data } = await readObject(response);
    const vectors = Array.isArray(data) ? (data as { embedding?: unknown }[]) : [];
    if (vectors.length !== texts.length) {
      throw new TransomError("network", `${model} gave ${vectors.length} vectors.`);
    }
    return vectors.map(({ embedding }) => Float32Array.from(embedding as number[]));
  }

  /**
   * Continue a conversation; a model without a chat template continues its only message.
   *
   * @throws TransomError (from `done`) with the words of whoever refused or broke off.
   */
  complete(
    request: CompletionRequest,
    onPiece: (piece: CompletionPiece) => void,
  ): RunningCompletion {
    const controller = new AbortController();
    return {
      done: this.#complete(request, onPiece, controller.signal),
      abort: () => {
        controller.abort();
      },
    };
  }

  async #complete(
    { model, messages, options, tools = [] }: CompletionRequest,
    onPiece: (piece: CompletionPiece) => void,
    signal: AbortSignal,
  ): Promise<Completion> {
    const answer = new CompletionStream(onPiece);
    const shared = {
      model,
      stream: true,
      stream_options: { include_usage: true },
      ...optionsOf(options),
    };
    try {
      const asked = { ...shared, messages, ...(tools.length > 0 && { tools }) };
      let response = await this.#post(CHATS, asked, signal);
      const refusal = response.ok ? null : await refusalOf(response);
      if (refusal?.isTemplateMissing === true) {
        const [only, ...others] = messages;
        if (only === undefined || others.length > 0) {
          throw new TransomError(
            "invalid-request",
            `${model} continues one text and keeps no conversation. Start a new chat for each text.`,
          );
        }
        response = await this.#post(TEXTS, { ...shared, prompt: only.content }, signal);
        if (!response.ok) {
          throw (await refusalOf(response)).error;
        }
      } else if (refusal !== null) {
        throw refusal.error;
      }
      await answer.read(response);
    } catch (error) {
      // Each browser rejects with an error of its own here.
      if (!signal.aborted) {
        throw error;
      }
      answer.finishReason = "abort";
    }
    return answer.completion;
  }

  async #post(
    path: string,
    body: object,
    signal: AbortSignal,
    accept = "text/event-stream",
  ): Promise<Response> {
    try {
      return await this.#fetch(new URL(path, this.#baseUrl), {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Accept: accept,
        },
        body: JSON.stringify(body),
        signal,
      });
    } catch (error) {
      if (signal.aborted) {
        throw error;
      }
      throw new TransomError("network", `Nobody answers: ${describe(error)}.`, { cause: error });
    }
  }
}

async function readObject(response: Response): Promise<Record<string, unknown>> {
  if (!response.ok) {
    throw (await refusalOf(response)).error;
  }
  const body: unknown = await response.json().catch(() => null);
  return typeof body === "object" && body !== null ? (body as Record<string, unknown>) : {};
}

/** In the API's words. */
function optionsOf(options: AskOptions): Record<string, unknown> {
  const { temperature, topP, topK, minP, typicalP, seed, maxTokens, logitBias } = options;
  const { repeatPenalty, presencePenalty, frequencyPenalty, repeatLastN, logprobs, stop } = options;
  const said = {
    temperature,
    top_p: topP,
    top_k: topK,
    min_p: minP,
    typical_p: typicalP,
    seed,
    max_completion_tokens: maxTokens,
    logit_bias: logitBias,
    repeat_penalty: repeatPenalty,
    presence_penalty: presencePenalty,
    frequency_penalty: frequencyPenalty,
    repeat_last_n: repeatLastN,
    stop,
    logprobs,
  };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
}
