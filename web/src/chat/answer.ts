/**
 * One answer of a model: asks the API, gathers what comes, and says what it was in figures.
 *
 * Knows no conversation and keeps nothing.
 */
import type { ApiClient, CompletionRequest } from "../client/api-client.ts";
import type { Completion, CompletionPiece, ServedBy } from "../client/completion-stream.ts";
import type { ToolCall } from "./types.ts";

/** The answer so far. */
export interface PartialAnswer {
  text: string;
  /** What the model thought before it spoke, where it marks that. */
  reasoning: string;
  /** From its first thought to the first of what is none, or the last so far; 0: it did not think. */
  reasoningSeconds: number;
  /** What it wants done. */
  calls: ToolCall[];
  /** Only where `logprobs` was asked for. */
  tokenIds: number[];
  /** Pieces that came, whatever was in them. */
  pieces: number;
}

/** What one answer was, in figures. */
export interface AnswerReport extends PartialAnswer {
  finishReason: Completion["finishReason"];
  /** Who answered, and why they. */
  servedBy: ServedBy;
  /** 0 of a stopped answer, as `cachedTokens`: nobody told. */
  promptTokens: number;
  cachedTokens: number;
  /** Of a stopped answer, the pieces that came: a piece is a token, or some that are no character alone. */
  completionTokens: number;
  /** As whoever asks waits for it, with loading the model where that was needed. */
  timeToFirstTokenSeconds: number;
  /** Of the tokens that really ran, not those from the KV cache. */
  prefillTokensPerSecond: number;
  /** From the second token on; 0 for an answer of one token. */
  decodeTokensPerSecond: number;
}

/** An answer on its way. */
export interface RunningAnswer {
  done: Promise<AnswerReport>;
  abort: () => void;
}

export function nothingYet(): PartialAnswer {
  return { text: "", reasoning: "", reasoningSeconds: 0, calls: [], tokenIds: [], pieces: 0 };
}

/** @param partial grows with each piece; `onPiece` is called after each. */
export function startAnswer(
  client: Pick<ApiClient, "complete">,
  request: CompletionRequest,
  partial: PartialAnswer,
  onPiece: () => void,
): RunningAnswer {
  const startedAt = performance.now();
  let firstAt: number | null = null;
  const thinking = new Thinking();
  let lastAt = startedAt;
  const running = client.complete(request, (piece) => {
    lastAt = performance.now();
    firstAt ??= lastAt;
    partial.text += piece.text;
    partial.reasoning += piece.reasoning;
    partial.reasoningSeconds = thinking.after(piece, lastAt);
    partial.tokenIds.push(...piece.tokenIds);
    partial.pieces++;
    for (const { index, id, name, arguments: text } of piece.calls) {
      const call = (partial.calls[index] ??= { id: "", name: "", arguments: "" });
      call.id += id ?? "";
      call.name += name ?? "";
      call.arguments += text;
    }
    onPiece();
  });
  const report = async () => {
    const completion = await running.done;
    const first = firstAt ?? performance.now();
    const rest = (lastAt - first) / 1000;
    return reportOf(completion, partial, { first: (first - startedAt) / 1000, rest });
  };
  return {
    done: report(),
    abort: () => {
      running.abort();
    },
  };
}

/** How long a model thinks before it speaks, from its first thought on. */
class Thinking {
  #began: number | null = null;
  #seconds = 0;
  #isOver = false;

  /** @param now milliseconds. */
  after({ text, reasoning, calls }: CompletionPiece, now: number): number {
    if (this.#isOver) {
      return this.#seconds;
    }
    if (reasoning !== "") {
      this.#began ??= now;
    }
    if (this.#began !== null) {
      this.#seconds = (now - this.#began) / 1000;
      this.#isOver = reasoning === "" && (text !== "" || calls.length > 0);
    }
    return this.#seconds;
  }
}

/** @param seconds by our own clock: to the first piece, and from there to the last. */
function reportOf(
  { finishReason, servedBy, usage, timings }: Completion,
  partial: PartialAnswer,
  seconds: { first: number; rest: number },
): AnswerReport {
  const { promptTokens, cachedTokens, completionTokens } = usage ?? {
    promptTokens: 0,
    cachedTokens: 0,
    completionTokens: partial.tokenIds.length || partial.pieces,
  };
  return {
    ...partial,
    // Whoever names parts of calls out of order leaves holes.
    calls: Object.values(partial.calls),
    tokenIds: [...partial.tokenIds],
    finishReason,
    servedBy,
    promptTokens,
    cachedTokens,
    completionTokens,
    timeToFirstTokenSeconds: seconds.first,
    prefillTokensPerSecond: rate(promptTokens - cachedTokens, timings?.promptSeconds ?? 0),
    decodeTokensPerSecond: rate(completionTokens - 1, timings?.completionSeconds ?? seconds.rest),
  };
}

function rate(count: number, seconds: number): number {
  return count > 0 && seconds > 0 ? count / seconds : 0;
}
