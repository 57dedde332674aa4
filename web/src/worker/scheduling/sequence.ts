/** One request on its way through the batch engine: its tokens so far, and how it ends. */
import type {
  Constraint,
  Done,
  FinishReason,
  GenerateRequest,
  TokenEvent,
} from "../../protocol.ts";
import type { Chosen, RowChoice } from "../runtime.ts";
import type { RestoredPages, Seat } from "./kv-memory.ts";
import { type Fitted, shift } from "../overflow.ts";

/** What a token that was accepted means for its sequence. */
export type Accepted = "goes on" | "is over" | "is full";

export class Sequence {
  readonly request: GenerateRequest;
  /** When it came: the one that came last gives way. */
  readonly order: number;
  /** All tokens that count, the prompt's first; the last one has not run yet. */
  tokenIds: number[];
  /** Null while it waits in line. */
  seat: Seat | null = null;
  /** Groups of decode steps it was part of. */
  groups = 0;
  isOver = false;
  /** What an earlier visit kept of its prompt. */
  restored: RestoredPages | null = null;
  /** Settles when that is known; null: it was not looked for. */
  restoring: Promise<void> | null = null;
  isLookedUp = false;

  readonly #onToken: (event: TokenEvent) => void;
  readonly #onOver: (sequence: Sequence) => void;
  readonly #stopTokenIds: ReadonlySet<number>;
  readonly #startedAt = performance.now();
  #resolve!: (done: Done) => void;
  #reject!: (error: unknown) => void;
  #completionTokens: number;
  #dropped: number;
  #cachedTokens: number | null = null;
  #prefilledAt: number | null = null;
  #firstTokenAt: number | null = null;
  #lastTokenAt = 0;

  /** Settles when the sequence is over. */
  readonly done = new Promise<Done>((resolve, reject) => {
    this.#resolve = resolve;
    this.#reject = reject;
  });

  /**
   * @param fitted the tokens to begin with, as they fit the context window.
   * @param onOver called once, before `done` settles.
   */
  constructor(
    request: GenerateRequest,
    order: number,
    fitted: Fitted,
    onToken: (event: TokenEvent) => void,
    onOver: (sequence: Sequence) => void,
  ) {
    this.request = request;
    this.order = order;
    this.tokenIds = fitted.tokenIds;
    this.#dropped = fitted.dropped;
    this.#onToken = onToken;
    this.#onOver = onOver;
    this.#stopTokenIds = new Set(request.stopTokenIds);
    this.#completionTokens = request.answeredTokenIds?.length ?? 0;
  }

  /** Tokens that it may still say. */
  get tokensLeft(): number {
    return this.request.maxTokens - this.#completionTokens;
  }

  /** Whether the CPU has to see each token before the next one is chosen. */
  get isStepwise(): boolean {
    const { constraint, topLogprobs } = this.request;
    return constraint !== undefined || topLogprobs !== undefined;
  }

  get isBeingRestored(): boolean {
    return this.restoring !== null;
  }

  /** The first token's logits were asked for, and it has not been said. */
  get wantsLogits(): boolean {
    return this.request.wantFirstLogits === true && this.#firstTokenAt === null;
  }

  get choice(): RowChoice {
    const { sampling, constraint, topLogprobs } = this.request;
    return {
      sampling,
      nextMask: constraint === undefined ? null : () => this.#maskBy(constraint),
      topLogprobs: topLogprobs ?? null,
    };
  }

  /** Whether what was answered before has ended it already, by its format. */
  isComplete(): boolean {
    const { constraint, answeredTokenIds = [] } = this.request;
    return (
      constraint !== undefined && answeredTokenIds.some((tokenId) => !constraint.accept(tokenId))
    );
  }

  /** @param pages what an earlier visit kept of its prompt; null: nobody looks for it. */
  lookUp(pages: Promise<RestoredPages | null> | null): void {
    this.isLookedUp = true;
    const found = pages?.catch(() => null);
    this.restoring =
      found?.then((restored) => {
        this.restored = restored;
        this.restoring = null;
      }) ?? null;
  }

  sitDown(seat: Seat): void {
    this.seat = seat;
    this.restored = null;
    this.#cachedTokens ??= Math.min(seat.found, this.request.promptTokenIds.length);
  }

  prefilled(): void {
    this.#prefilledAt ??= performance.now();
  }

  /** A token was chosen to follow. @param window tokens that a sequence may hold. */
  accept(chosen: Chosen, window: number, logits?: Float32Array): Accepted {
    const { tokenId } = chosen;
    const logprobs =
      chosen.logprob === null ? {} : { logprobs: { logprob: chosen.logprob, top: chosen.top } };
    if (this.#stopTokenIds.has(tokenId)) {
      this.end("stop", { tokenId, ...logprobs });
      return "is over";
    }
    this.tokenIds.push(tokenId);
    this.#completionTokens++;
    this.#lastTokenAt = performance.now();
    this.#firstTokenAt ??= this.#lastTokenAt;
    this.#onToken({ tokenId, ...logprobs, ...(logits === undefined ? {} : { logits }) });
    // Whoever was told may have aborted.
    if (this.isOver) {
      return "is over";
    }
    if (this.request.constraint?.accept(tokenId) === false) {
      this.end("stop");
      return "is over";
    }
    // The last token was chosen from those in the cache and needs no place.
    const isFull = this.tokenIds.length > window;
    const goesOnWhenFull = this.request.overflow === "shift";
    if (this.tokensLeft <= 0 || (isFull && !goesOnWhenFull)) {
      this.end("length");
      return "is over";
    }
    return isFull ? "is full" : "goes on";
  }

  /** Forget the older half, so that it can go on. It has to sit down anew. */
  shift(): void {
    const { tokenIds, dropped } = shift(this.tokenIds, this.request.keepTokens ?? 0);
    this.tokenIds = tokenIds;
    this.#dropped += dropped;
  }

  end(finishReason: FinishReason, stop: TokenEvent | null = null): void {
    this.#over(() => {
      this.#resolve(this.#report(finishReason, stop));
    });
  }

  fail(error: unknown): void {
    this.#over(() => {
      this.#reject(error);
    });
  }

  /** A format that fails ends this answer; the others of the same step have no part in that. */
  #maskBy(constraint: Constraint): Int32Array | null {
    try {
      return constraint.nextMask();
    } catch (error) {
      this.fail(error);
      return null;
    }
  }

  #over(settle: () => void): void {
    if (!this.isOver) {
      this.isOver = true;
      this.#onOver(this);
      settle();
    }
  }

  #report(finishReason: FinishReason, stop: TokenEvent | null): Done {
    const now = performance.now();
    const firstTokenAt = this.#firstTokenAt ?? now;
    return {
      finishReason,
      stopTokenId: stop?.tokenId ?? null,
      ...(stop?.logprobs === undefined ? {} : { stopLogprobs: stop.logprobs }),
      promptTokens: this.request.promptTokenIds.length,
      cachedTokens: this.#cachedTokens ?? 0,
      completionTokens: this.#completionTokens,
      ...(this.#dropped === 0 ? {} : { truncatedTokens: this.#dropped }),
      timings: {
        timeToFirstTokenSeconds: (firstTokenAt - this.#startedAt) / 1000,
        prefillSeconds: ((this.#prefilledAt ?? now) - this.#startedAt) / 1000,
        decodeSeconds: Math.max(0, this.#lastTokenAt - firstTokenAt) / 1000,
      },
    };
  }
}
