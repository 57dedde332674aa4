/**
 * The engine contract of DESIGN 4.6 on one model: prefill in chunks, decode, stop, abort.
 *
 * One request at a time, the others wait in line; `scheduling/batch-engine.ts` runs many together, on
 * models that have a program.
 * Knows token ids only; text, templates and messages are above it, GPU and wasm below it. The KV
 * cache is kept between calls: a prompt that continues what is in it costs only its new tokens.
 */
import type {
  Done,
  FinishReason,
  GenerateRequest,
  TokenEvent,
  TokenLogprobs,
} from "../protocol.ts";
import { logprobsOf } from "./logprobs.ts";
import { type Fitted, fitPrompt, requireRoom, shift } from "./overflow.ts";
import { checkPrefilled, checkRequest } from "./request-check.ts";
import type { ModelRuntime } from "./runtime.ts";
import { Sampler } from "./sampler.ts";
import type { TokenEngine } from "./token-engine.ts";
import { WaitingLine } from "./waiting-line.ts";

export class Engine implements TokenEngine {
  readonly #runtime: ModelRuntime;
  /** The tokens whose keys and values are in the KV cache, in order. */
  #cachedIds: number[] = [];
  readonly #line = new WaitingLine();

  constructor(runtime: ModelRuntime) {
    this.#runtime = runtime;
  }

  readonly parallel = 1;

  get contextWindowSize(): number {
    return this.#runtime.contextWindowSize;
  }

  /** The signal is looked at between tokens and between prefill chunks. */
  async generate(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done> {
    checkRequest(request);
    const fitted = fitPrompt(request, this.contextWindowSize);
    const done = await this.#alone(() => this.#run(request, fitted, onToken, signal), signal);
    return done ?? notBegun(request);
  }

  async score(
    tokenIds: readonly number[],
    prefilled: number,
    onLogits: (logits: Float32Array, position: number) => void,
  ): Promise<void> {
    checkPrefilled(tokenIds.length, prefilled);
    requireRoom(tokenIds.length, this.contextWindowSize);
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

  /** @returns null where the signal came before its turn. */
  #alone<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T | null> {
    return this.#line.enter(async () => {
      try {
        return await work();
      } catch (error) {
        // Nobody knows how far the KV cache got: the next prompt starts from nothing.
        this.#cachedIds = [];
        throw error;
      }
    }, signal);
  }

  async #run(
    request: GenerateRequest,
    { tokenIds, dropped }: Fitted,
    onToken: (event: TokenEvent) => void,
    signal: AbortSignal | undefined,
  ): Promise<Done> {
    const startedAt = performance.now();
    const { promptTokenIds, answeredTokenIds = [] } = request;
    const kept = this.#reusePrefix(tokenIds);
    const isPrefilled = await this.#prefill(tokenIds.slice(kept), signal);

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
          stopLogprobs: undefined,
          completionTokens: answeredTokenIds.length,
          lastTokenAt: 0,
          forgotten: 0,
        };

    const truncatedTokens = dropped + answer.forgotten;
    return {
      finishReason: answer.finishReason,
      stopTokenId: answer.stopTokenId,
      ...(answer.stopLogprobs === undefined ? {} : { stopLogprobs: answer.stopLogprobs }),
      promptTokens: promptTokenIds.length,
      cachedTokens: Math.min(kept, promptTokenIds.length),
      completionTokens: answer.completionTokens,
      ...(truncatedTokens === 0 ? {} : { truncatedTokens }),
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
    stopLogprobs: TokenLogprobs | undefined;
    completionTokens: number;
    lastTokenAt: number;
    forgotten: number;
  }> {
    const stopTokenIds = new Set(request.stopTokenIds);
    const answered = request.answeredTokenIds?.length ?? 0;
    const sampler = new Sampler(request.sampling);
    const { constraint } = request;
    let completionTokens = answered;
    let lastTokenAt = 0;
    let forgotten = 0;
    const end = (finishReason: FinishReason, stop: TokenEvent | null = null) => ({
      finishReason,
      stopTokenId: stop?.tokenId ?? null,
      stopLogprobs: stop?.logprobs,
      completionTokens,
      lastTokenAt,
      forgotten,
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
        return end("stop", event);
      }
      lastTokenAt = performance.now();
      onToken(event, completionTokens - answered);
      completionTokens++;
      if (constraint?.accept(event.tokenId) === false) {
        return end("stop");
      }
      const isFull = this.#cachedIds.length >= this.#runtime.contextWindowSize;
      if (completionTokens >= request.maxTokens || (isFull && request.overflow !== "shift")) {
        return end("length");
      }
      if (isFull) {
        const whole = [...this.#cachedIds, event.tokenId];
        const { tokenIds, dropped } = shift(whole, request.keepTokens ?? 0);
        forgotten += dropped;
        if (!(await this.#prefill(tokenIds.slice(this.#reusePrefix(tokenIds)), signal))) {
          return end("abort");
        }
      } else {
        this.#forward([event.tokenId]);
      }
    }
  }

  /** Choose a token from the last logits; they leave the GPU only when something needs them. */
  async #next(sampler: Sampler, request: GenerateRequest, isFirst: boolean): Promise<TokenEvent> {
    const wantsLogits = isFirst && request.wantFirstLogits === true;
    // Made while the GPU works.
    const mask = request.constraint?.nextMask() ?? null;
    const { topLogprobs } = request;
    if (sampler.takesLargest && mask === null && !wantsLogits && topLogprobs === undefined) {
      return { tokenId: await this.#runtime.argmax() };
    }
    const logits = await this.#runtime.readLogits();
    const tokenId = sampler.sample(logits, this.#cachedIds, this.#cachedIds.length, mask);
    return {
      tokenId,
      ...(wantsLogits ? { logits: logits.slice() } : {}),
      ...(topLogprobs === undefined ? {} : { logprobs: logprobsOf(logits, tokenId, topLogprobs) }),
    };
  }

  #forward(tokenIds: readonly number[]): void {
    this.#runtime.forward(tokenIds);
    this.#cachedIds.push(...tokenIds);
  }
}

/** Whoever asked left the line before its turn. */
function notBegun({ promptTokenIds, answeredTokenIds = [] }: GenerateRequest): Done {
  return {
    finishReason: "abort",
    stopTokenId: null,
    promptTokens: promptTokenIds.length,
    cachedTokens: 0,
    completionTokens: answeredTokenIds.length,
    timings: { timeToFirstTokenSeconds: 0, prefillSeconds: 0, decodeSeconds: 0 },
  };
}
