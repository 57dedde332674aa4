/**
 * One conversation: history, the answer on its way, stop, start over. No DOM, no worker.
 *
 * A stopped answer stays in the history as far as it came; a failed one is taken back together
 * with its question, so that the history is always one that the template accepts.
 */
import { TransomError } from "../errors.ts";
import type { ChatRequest, Done, FinishReason, Message } from "../protocol.ts";
import type { EngineClient, Generation } from "./engine-client.ts";

/** What one answer was, in figures. */
export interface AnswerReport {
  text: string;
  tokenIds: number[];
  finishReason: FinishReason;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  timeToFirstTokenSeconds: number;
  /** Of the tokens that really ran, not those from the KV cache. */
  prefillTokensPerSecond: number;
  /** From the second token on; 0 for an answer of one token. */
  decodeTokensPerSecond: number;
}

/** The answer so far. */
export interface PartialAnswer {
  text: string;
  tokenIds: number[];
}

export class ChatSession {
  readonly #client: Pick<EngineClient, "generate">;
  #history: Message[] = [];
  #generation: Generation | null = null;
  #partial: PartialAnswer = { text: "", tokenIds: [] };

  constructor(client: Pick<EngineClient, "generate">) {
    this.#client = client;
  }

  get history(): readonly Message[] {
    return this.#history;
  }

  get isAnswering(): boolean {
    return this.#generation !== null;
  }

  /** The running or last answer, as far as it came. */
  get partial(): Readonly<PartialAnswer> {
    return this.#partial;
  }

  /**
   * Ask, with the conversation so far as context.
   *
   * @param onText called with each new piece and the whole answer so far.
   */
  async ask(
    text: string,
    options: ChatRequest["options"],
    onText: (piece: string, answer: Readonly<PartialAnswer>) => void,
  ): Promise<AnswerReport> {
    if (this.#generation !== null) {
      throw new TransomError("busy", "An answer is on its way; stop it first.");
    }
    const messages: Message[] = [...this.#history, { role: "user", content: text }];
    const partial: PartialAnswer = { text: "", tokenIds: [] };
    this.#partial = partial;
    this.#generation = this.#client.generate({ messages, options }, (piece) => {
      partial.text += piece.text;
      if (piece.tokenId !== null) {
        partial.tokenIds.push(piece.tokenId);
      }
      onText(piece.text, partial);
    });
    try {
      const done = await this.#generation.done;
      this.#history = [...messages, { role: "assistant", content: partial.text }];
      return reportOf(done, partial);
    } finally {
      this.#generation = null;
    }
  }

  /** Stop the answer within one token; nothing happens when there is none. */
  stop(): void {
    this.#generation?.abort();
  }

  /** Forget the conversation. @throws TransomError `busy` while an answer is on its way. */
  clear(): void {
    if (this.#generation !== null) {
      throw new TransomError("busy", "An answer is on its way; stop it first.");
    }
    this.#history = [];
    this.#partial = { text: "", tokenIds: [] };
  }
}

function reportOf(done: Done, { text, tokenIds }: PartialAnswer): AnswerReport {
  const { timeToFirstTokenSeconds, prefillSeconds, decodeSeconds } = done.timings;
  return {
    text,
    tokenIds,
    finishReason: done.finishReason,
    promptTokens: done.promptTokens,
    cachedTokens: done.cachedTokens,
    completionTokens: done.completionTokens,
    timeToFirstTokenSeconds,
    prefillTokensPerSecond: rate(done.promptTokens - done.cachedTokens, prefillSeconds),
    decodeTokensPerSecond: rate(done.completionTokens - 1, decodeSeconds),
  };
}

function rate(count: number, seconds: number): number {
  return count > 0 && seconds > 0 ? count / seconds : 0;
}
