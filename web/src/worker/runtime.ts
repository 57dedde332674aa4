/**
 * What a loaded model can do, below texts: continue tokens, or make one vector of them.
 *
 * `program-runtime.ts` (many sequences, ours), `tvm-runtime.ts` (one sequence, any MLC library),
 * `tvm-encoder.ts` and, on the processor, `llama/llama-runtime.ts` and `llama/llama-encoder.ts` are
 * the real ones; tests bring fakes. Calls are strictly one after another.
 */
import type { Sampling } from "../protocol.ts";

export interface ModelRuntime {
  readonly contextWindowSize: number;
  /** Most tokens that one `forward` may take. */
  readonly prefillChunkSize: number;

  /** Forget all tokens: an empty KV cache. */
  clear(): void;
  /** Forget all tokens but the first `count`; a runtime without it forgets all or none. */
  keep?(count: number): void;
  /** Run the tokens through the model after those in the KV cache; keeps the last logits. */
  forward(tokenIds: readonly number[]): void;
  /** The most likely token by the last logits; waits for the GPU. */
  argmax(): Promise<number>;
  /** The last logits, one per vocabulary entry; waits for the GPU. Valid until the next call. */
  readLogits(): Promise<Float32Array>;
  /** Wait until the GPU has done all that was asked. */
  settle(): Promise<void>;
  dispose(): void;
}

export interface EncoderRuntime {
  /** Most tokens that a text may have. */
  readonly contextWindowSize: number;

  /** The vector, of any length, of each text's tokens; waits for the GPU once for all of them. */
  encode(texts: readonly (readonly number[])[]): Promise<Float32Array[]>;
  dispose(): void;
}

/** What a `BatchRuntime` has room for. */
export interface BatchLimits {
  /** Tokens that one sequence may hold. */
  contextWindowSize: number;
  /** Most tokens of one `prefill`. */
  prefillChunkSize: number;
  /** Most rows of one step. */
  maxRows: number;
  /** Sequences that may be under way: rows of the page table. */
  slots: number;
  /** Tokens of a page. */
  pageSize: number;
  /** Pages of the KV cache, shared by all sequences. */
  pageCount: number;
  vocabularySize: number;
}

/** How a row's token is chosen from its logits. */
export interface RowChoice {
  sampling: Sampling;
  /**
   * Which tokens may be chosen: bit i of word i >> 5. Null: all may. A function is called by `step`
   * and `chooseNext` themselves, once the forward pass is on its way: masks are made while the GPU
   * works.
   */
  nextMask: (() => Int32Array | null) | null;
  /** How many of the likeliest tokens to tell (0 to 20); null: no log-probabilities at all. */
  topLogprobs: number | null;
}

/** One token to run: it stands at `position` of the sequence in `slot`. */
export interface Row {
  slot: number;
  position: number;
  tokenId: number;
  choice: RowChoice;
}

/** What was chosen to follow a row. Natural logarithms, before temperature and filters. */
export interface Chosen {
  tokenId: number;
  logprob: number | null;
  top: readonly { tokenId: number; logprob: number }[];
}

/**
 * Several sequences over one paged KV cache. Which page belongs to whom is the caller's business
 * (`setPages`); the GPU only follows its table. All calls but the promises' results are queued in
 * order and return at once, so that the GPU never waits for the CPU.
 */
export interface BatchRuntime {
  readonly limits: BatchLimits;

  /**
   * The pages of a slot's tokens `first * pageSize` and after; those before stay as they are. A slot
   * that nobody sits in has none: `setPages(slot, 0, [])`.
   */
  setPages(slot: number, first: number, pages: readonly number[]): void;
  /** Tokens of a sequence that never run, as their pages are there: penalties look back at them. */
  setTokens(slot: number, position: number, tokenIds: readonly number[]): void;
  /**
   * Run consecutive tokens of one sequence, `position` the place of the first. The last one's logits
   * are what the next `chooseNext` sees.
   */
  prefill(slot: number, position: number, tokenIds: readonly number[]): void;
  /** Choose what follows the last token of the last `prefill`. @param position of that token. */
  chooseNext(slot: number, position: number, choice: RowChoice): Promise<Chosen>;
  /**
   * Run the rows, choose for each, and, without asking anybody, run what was chosen: `steps` times.
   * With one step several rows may be consecutive positions of one slot (drafts). With masks or
   * log-probabilities there is one step only. Pages for all positions must be set before.
   *
   * @returns chosen[step][row]; resolves when the GPU has done all steps.
   */
  step(rows: readonly Row[], steps: number): Promise<Chosen[][]>;
  /**
   * The same rows once more, going on behind what the last `step` chose; no CPU in between. Between
   * the two there may be `setPages`, but no `prefill` and no drafts.
   */
  stepOn(steps: number): Promise<Chosen[][]>;
  /** Copy a page's keys and values of all layers. */
  copyPage(from: number, to: number): void;
  /** A page's keys and values, for keeping elsewhere; `writePage` takes them back. */
  readPage(page: number): Promise<Uint8Array>;
  writePage(page: number, bytes: Uint8Array): void;
  /** Raw logits of a row of the last `step`, or of the last `prefill` (row 0). */
  readLogits(row: number): Promise<Float32Array>;
  /** Wait until the GPU has done all that was asked. */
  settle(): Promise<void>;
  dispose(): void;
}
