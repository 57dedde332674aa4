/**
 * The stream of one completion: its events become pieces, and what the answer was in the end.
 *
 * Reads the frames of `/v1/chat/completions` and `/v1/completions`, whoever sent them.
 */
import { REASON_HEADER, SERVED_BY_HEADER } from "../api-protocol.ts";
import { TransomError, describe } from "../errors.ts";
import { apiError } from "./api-errors.ts";
import { EventStreamReader } from "./event-stream.ts";

/** OpenAI's last event. */
const END = "[DONE]";

/** What came with one event. */
export interface CompletionPiece {
  text: string;
  /** What the model thought before it spoke, where it marks that. */
  reasoning: string;
  /** Only where log-probabilities were asked for. */
  tokenIds: readonly number[];
  /** Parts of calls, by their place among the answer's calls. */
  calls: readonly CallPart[];
}

/** The first part of a call has its id and name; its arguments are those of all parts, in order. */
export interface CallPart {
  index: number;
  id: string | null;
  name: string | null;
  arguments: string;
}

/** Who answered, and why they, in words: from the answer's header. */
export interface ServedBy {
  place: "browser" | "server";
  /** "" where nobody said. */
  why: string;
  /** `why` as a code (`REASON_HEADER`); left out where nobody said. */
  code?: string;
}

export interface Completion {
  finishReason: "stop" | "length" | "tool_calls" | "abort";
  servedBy: ServedBy;
  /** Null where the answer was stopped, or nobody counted. */
  usage: { promptTokens: number; cachedTokens: number; completionTokens: number } | null;
  /** Seconds by the engine's own clock; null as `usage`. */
  timings: { loadSeconds: number; promptSeconds: number; completionSeconds: number } | null;
}

/** The parts of a chunk that are read; strangers' chunks may lack any of them. */
interface Chunk {
  choices?: {
    text?: string;
    delta?: {
      content?: string | null;
      reasoning_content?: string | null;
      tool_calls?: {
        index?: number;
        id?: string;
        function?: { name?: string; arguments?: string };
      }[];
    };
    logprobs?: { content?: { id?: number }[] | null } | null;
    finish_reason?: string | null;
  }[];
  usage?: {
    prompt_tokens: number;
    completion_tokens: number;
    prompt_tokens_details?: { cached_tokens?: number };
  } | null;
  timings?: { load_ms?: number; prompt_ms?: number; predicted_ms?: number };
  error?: unknown;
}

/** What has come of an answer. */
export class CompletionStream {
  finishReason: Completion["finishReason"] | null = null;
  readonly #onPiece: (piece: CompletionPiece) => void;
  #servedBy: ServedBy = { place: "server", why: "" };
  #usage: Completion["usage"] = null;
  #timings: Completion["timings"] = null;
  #isWhole = false;

  constructor(onPiece: (piece: CompletionPiece) => void) {
    this.#onPiece = onPiece;
  }

  get completion(): Completion {
    return {
      finishReason: this.finishReason ?? "stop",
      servedBy: this.#servedBy,
      usage: this.#usage,
      timings: this.#timings,
    };
  }

  /** @throws TransomError when the stream ends before the answer does, or is none. */
  async read(response: Response): Promise<void> {
    this.#servedBy = readServedBy(response.headers);
    const type = response.headers.get("Content-Type") ?? "nothing";
    if (!type.startsWith("text/event-stream") || response.body === null) {
      throw new TransomError(
        "network",
        `No model answers at this address: it sent ${type.split(";", 1)[0] ?? type}.`,
      );
    }
    const bytes = response.body.getReader();
    const events = new EventStreamReader();
    try {
      while (!this.#isWhole) {
        const { done, value } = await next(bytes);
        if (done) {
          break;
        }
        for (const { data } of events.push(value)) {
          this.#take(data);
        }
      }
    } finally {
      // Whoever still writes hears that nobody reads.
      bytes.cancel().catch(() => undefined);
    }
    if (!this.#isWhole) {
      throw new TransomError("network", "The answer broke off: its connection was closed.");
    }
  }

  #take(data: string): void {
    if (data === END) {
      this.#isWhole = true;
      return;
    }
    const { choices = [], usage, timings, error } = parse(data);
    if (error !== undefined) {
      throw apiError(error, "The answer broke off.");
    }
    for (const { text, delta, logprobs, finish_reason: finish } of choices) {
      const piece = {
        text: text ?? delta?.content ?? "",
        reasoning: delta?.reasoning_content ?? "",
        tokenIds: (logprobs?.content ?? []).map(({ id }) => id).filter((id) => id !== undefined),
        calls: (delta?.tool_calls ?? []).map(({ index = 0, id = null, function: called }) => ({
          index,
          id,
          name: called?.name ?? null,
          arguments: called?.arguments ?? "",
        })),
      };
      if (
        piece.text !== "" ||
        piece.reasoning !== "" ||
        piece.tokenIds.length > 0 ||
        piece.calls.length > 0
      ) {
        this.#onPiece(piece);
      }
      if (finish !== undefined && finish !== null) {
        this.finishReason = finish === "length" || finish === "tool_calls" ? finish : "stop";
      }
    }
    if (usage !== undefined && usage !== null) {
      this.#usage = {
        promptTokens: usage.prompt_tokens,
        cachedTokens: usage.prompt_tokens_details?.cached_tokens ?? 0,
        completionTokens: usage.completion_tokens,
      };
    }
    if (timings !== undefined) {
      const { load_ms: load = 0, prompt_ms: prompt = 0, predicted_ms: predicted = 0 } = timings;
      this.#timings = {
        loadSeconds: load / 1000,
        promptSeconds: prompt / 1000,
        completionSeconds: predicted / 1000,
      };
    }
  }
}

async function next(bytes: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await bytes.read();
  } catch (error) {
    const message = `The answer broke off: ${describe(error)}.`;
    throw new TransomError("network", message, { cause: error });
  }
}

function parse(data: string): Chunk {
  try {
    const value: unknown = JSON.parse(data);
    if (typeof value === "object" && value !== null) {
      return value;
    }
  } catch {
    // Told below, as what is JSON but no object.
  }
  throw new TransomError("network", `The answer is garbled: "${data.slice(0, 80)}".`);
}

/** "browser; its graphics adapter" -> who and why. Without a header it came over the network. */
function readServedBy(headers: Headers): ServedBy {
  const [place = "", ...why] = (headers.get(SERVED_BY_HEADER) ?? "").split(";");
  const code = headers.get(REASON_HEADER) ?? "";
  return {
    place: place.trim() === "browser" ? "browser" : "server",
    why: why.join(";").trim(),
    ...(code !== "" && { code }),
  };
}
