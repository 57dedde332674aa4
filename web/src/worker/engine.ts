/**
 * The engine contract of DESIGN 4.6 on one model: prefill in chunks, decode, stop, abort.
 *
 * Knows token ids only; text, templates and messages are above it, GPU and wasm below it. The KV
 * cache is kept between calls: a prompt that continues what is in it costs only its new tokens.
 */
import { TransomError } from "../errors.ts";
import type { Done, FinishReason, GenerateRequest, TokenEvent } from "../protocol.ts";
import type { ModelRuntime } from "./runtime.ts";
import { Sampler } from "./sampler.ts";

export class Engine {
  readonly #runtime: ModelRuntime;
  /** The tokens whose keys and values are in the KV cache, in order. */
  #cachedIds: number[] = [];
  #isBusy = false;

  constructor(runtime: ModelRuntime) {
    this.#runtime = runtime;
  }

  get contextWindowSize(): number {
    return this.#runtime.contextWindowSize;
  }

  /**
   * Generate until a stop token, the length limit, or abort.
   *
   * @param onToken called for each token of the answer; stop tokens are not part of it.
   * @param signal checked between tokens and between prefill chunks.
   * @throws TransomError `context-overflow`, `invalid-request`, `busy`, or what the runtime throws.
   */
  async generate(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done> {
    this.#check(request);
    return this.#alone(() => this.#run(request, onToken, signal));
  }

  /**
   * Read a text whose every token is known: the logits that each token was up against.
   *
   * @param tokenIds the whole text; the first `prefilled` go in as a prompt does, in chunks, each
   *   later one as a decode step of its own.
   * @param onLogits called for each position from `prefilled` on, in order, with the logits after
   *   the tokens before it. They are valid until it returns.
   * @throws TransomError `context-overflow`, `invalid-request`, `busy`, or what the runtime throws.
   */
  async score(
    tokenIds: readonly number[],
    prefilled: number,
    onLogits: (logits: Float32Array, position: number) => void,
  ): Promise<void> {
    if (!Number.isSafeInteger(prefilled) || prefilled < 1 || prefilled >= tokenIds.length) {
      throw new TransomError(
        "invalid-request",
        `Of ${tokenIds.length} tokens, ${prefilled} cannot be the given ones.`,
      );
    }
    this.#requireRoom(tokenIds.length);
    await this.#alone(async () => {
      this.#cachedIds = [];
      this.#runtime.clear();
      await this.#prefill(tokenIds.slice(0, prefilled), undefined);
      for (let position = prefilled; position < tokenIds.length; position++) {
        onLogits(await this.#runtime.readLogits(), position);
        if (position + 1 < tokenIds.length) {
          this.#forward(tokenIds.slice(position, position + 1));
        }
      }
    });
  }

  dispose(): void {
    this.#runtime.dispose();
  }

  async #alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isBusy) {
      throw new TransomError("busy", "The engine is answering already; stop that answer first.");
    }
    this.#isBusy = true;
    try {
      return await work();
    } catch (error) {
      // Nobody knows how far the KV cache got: the next prompt starts from nothing.
      this.#cachedIds = [];
      throw error;
    } finally {
      this.#isBusy = false;
    }
  }

  async #run(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<Done> {
    const startedAt = performance.now();
    const { promptTokenIds, answeredTokenIds = [] } = request;
    const known = [...promptTokenIds, ...answeredTokenIds];
    const kept = this.#reusePrefix(known);
    const isPrefilled = await this.#prefill(known.slice(kept), signal);

    let firstTokenAt = performance.now();
    const prefillSeconds = (firstTokenAt - startedAt) / 1000;
    const answer = isPrefilled
      ? await this.#decode(request, signal, (event, index) => {
          if (index === 0) {
            firstTokenAt = performance.now();
          }
          onToken(event);
        })
      : {
          finishReason: "abort" as const,
          stopTokenId: null,
          completionTokens: answeredTokenIds.length,
          lastTokenAt: 0,
        };

    return {
      finishReason: answer.finishReason,
      stopTokenId: answer.stopTokenId,
      promptTokens: promptTokenIds.length,
      cachedTokens: Math.min(kept, promptTokenIds.length),
      completionTokens: answer.completionTokens,
      timings: {
        timeToFirstTokenSeconds: (firstTokenAt - startedAt) / 1000,
        prefillSeconds,
        decodeSeconds: Math.max(0, answer.lastTokenAt - firstTokenAt) / 1000,
      },
    };
  }

  /** Keep as much of the KV cache as the prompt begins with. Gives the tokens kept. */
  #reusePrefix(promptTokenIds: readonly number[]): number {
    const cached = this.#cachedIds;
    // At least one token must run, because it makes the logits.
    const most = Math.min(cached.length, promptTokenIds.length - 1);
    const differs = cached.findIndex((id, index) => index >= most || id !== promptTokenIds[index]);
    const shared = differs === -1 ? cached.length : differs;
    if (shared > 0 && shared < cached.length && this.#runtime.keep !== undefined) {
      this.#cachedIds = cached.slice(0, shared);
      this.#runtime.keep(shared);
    } else if (shared === 0 || shared < cached.length) {
      this.#cachedIds = [];
      this.#runtime.clear();
    }
    return this.#cachedIds.length;
  }

  /** @returns false when stopped before the end. */
  async #prefill(tokenIds: readonly number[], signal: AbortSignal | undefined): Promise<boolean> {
    const chunkSize = this.#runtime.prefillChunkSize;
    for (let start = 0; start < tokenIds.length; start += chunkSize) {
      if (signal?.aborted) {
        return false;
      }
      this.#forward(tokenIds.slice(start, start + chunkSize));
      // Waiting also lets an abort message in.
      await this.#runtime.settle();
    }
    return signal?.aborted !== true;
  }

  async #decode(
    request: GenerateRequest,
    signal: AbortSignal | undefined,
    onToken: (event: TokenEvent, index: number) => void,
  ): Promise<{
    finishReason: FinishReason;
    stopTokenId: number | null;
    completionTokens: number;
    lastTokenAt: number;
  }> {
    const stopTokenIds = new Set(request.stopTokenIds);
    const answered = request.answeredTokenIds?.length ?? 0;
    const sampler = new Sampler(request.sampling);
    const { constraint } = request;
    let completionTokens = answered;
    let lastTokenAt = 0;
    const end = (finishReason: FinishReason, stopTokenId: number | null = null) => ({
      finishReason,
      stopTokenId,
      completionTokens,
      lastTokenAt,
    });
    // What was answered before may have ended the answer, by its format.
    if (request.answeredTokenIds?.some((tokenId) => constraint?.accept(tokenId) === false)) {
      return end("stop");
    }
    for (;;) {
      const event = await this.#next(sampler, request, completionTokens === answered);
      if (signal?.aborted) {
        return end("abort");
      }
      if (stopTokenIds.has(event.tokenId)) {
        return end("stop", event.tokenId);
      }
      lastTokenAt = performance.now();
      onToken(event, completionTokens - answered);
      completionTokens++;
      if (constraint?.accept(event.tokenId) === false) {
        return end("stop");
      }
      const isFull = this.#cachedIds.length >= this.#runtime.contextWindowSize;
      if (completionTokens >= request.maxTokens || isFull) {
        return end("length");
      }
      this.#forward([event.tokenId]);
    }
  }

  /** Choose a token from the last logits; they leave the GPU only when something needs them. */
  async #next(sampler: Sampler, request: GenerateRequest, isFirst: boolean): Promise<TokenEvent> {
    const wantsLogits = isFirst && request.wantFirstLogits === true;
    // Made while the GPU works.
    const mask = request.constraint?.nextMask() ?? null;
    if (sampler.takesLargest && mask === null && !wantsLogits) {
      return { tokenId: await this.#runtime.argmax() };
    }
    const logits = await this.#runtime.readLogits();
    const tokenId = sampler.sample(logits, this.#cachedIds, this.#cachedIds.length, mask);
    return wantsLogits ? { tokenId, logits: logits.slice() } : { tokenId };
  }

  #forward(tokenIds: readonly number[]): void {
    this.#runtime.forward(tokenIds);
    this.#cachedIds.push(...tokenIds);
  }

  #check(request: GenerateRequest): void {
    const { promptTokenIds, answeredTokenIds = [], maxTokens } = request;
    if (promptTokenIds.length === 0) {
      throw new TransomError("invalid-request", "The prompt is empty.");
    }
    if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
      throw new TransomError("invalid-request", `maxTokens must be 1 or more, not ${maxTokens}.`);
    }
    this.#requireRoom(promptTokenIds.length + answeredTokenIds.length);
  }

  /** After that many tokens there must be a place for one more. */
  #requireRoom(tokens: number): void {
    const window = this.#runtime.contextWindowSize;
    if (tokens >= window) {
      throw new TransomError(
        "context-overflow",
        `The conversation has ${tokens} tokens; ` +
          `this model can hold ${window}. Start a new chat.`,
      );
    }
  }
}
