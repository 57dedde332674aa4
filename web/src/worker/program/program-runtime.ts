/**
 * A program that speaks: the real `BatchRuntime`. Sequences, their tokens and what was chosen live in
 * GPU buffers; a call queues commands and a read-back at most.
 *
 * docs/formats/program.md says what each shared buffer holds. Which page is whose is the scheduler's
 * business (`batch-engine.ts`).
 */
import { TransomError } from "../../errors.ts";
import type { BatchLimits, BatchRuntime, Chosen, Row, RowChoice } from "../runtime.ts";
import { type GpuWatch } from "../gpu-watch.ts";
import { type BoundFunction, Executor } from "./executor.ts";
import type { Pipelines } from "./pipelines.ts";
import type { Program } from "./program.ts";
import { Readbacks } from "./readbacks.ts";
import {
  type Chooser,
  MAX_BIASES,
  SAMPLER_WORDS,
  type SamplerWords,
  samplerWords,
} from "./sampler-words.ts";
import { RANKED_WORDS, SharedBuffers } from "./shared-buffers.ts";

const WORD_BYTES = 4;
/** Likeliest tokens that `rank` tells, and where it puts them in a row of `ranked`. */
const RANKED_TOKENS = 20;
const CHOSEN_LOGPROB = 1;
const TOP_IDS = 2;
const TOP_LOGPROBS = TOP_IDS + RANKED_TOKENS;

/** How the rows of a step are chosen. */
interface Choosing {
  chooser: Chooser;
  isAdjusted: boolean;
  isRanked: boolean;
}

export class ProgramRuntime implements BatchRuntime {
  readonly limits: BatchLimits;
  readonly #executor: Executor;
  readonly #buffers: SharedBuffers;
  readonly #readbacks: Readbacks;
  readonly #watch: GpuWatch;
  readonly #params: readonly GPUBuffer[];
  readonly #functions = new Map<string, BoundFunction>();
  readonly #used: Set<string>;
  readonly #onUse: (functions: readonly string[]) => void;
  /** Rows of the last step, at the positions that the GPU has reached. */
  #running: { slots: number[]; positions: number[]; choosing: Choosing } | null = null;
  /** What `samplers` holds now. */
  #samplerWords = "";

  /**
   * @param watch over the device.
   * @param params a buffer for each of the program's parameters, filled, in its order.
   * @param contextWindowSize tokens that one sequence may hold; at most the program's own.
   * @param pageCount pages of the KV cache.
   * @param used functions that earlier visits used.
   * @param onUse told of all that were used, whenever there is a new one.
   */
  constructor(
    program: Program,
    watch: GpuWatch,
    device: GPUDevice,
    pipelines: Pipelines,
    params: readonly GPUBuffer[],
    contextWindowSize: number,
    pageCount: number,
    used: readonly string[],
    onUse: (functions: readonly string[]) => void,
  ) {
    this.#used = new Set(used);
    this.#onUse = onUse;
    this.#watch = watch;
    this.#params = params;
    this.limits = {
      contextWindowSize,
      prefillChunkSize: program.prefillChunkSize,
      maxRows: program.rows,
      slots: program.slots,
      pageSize: program.pageSize,
      pageCount,
      vocabularySize: program.vocabularySize,
    };
    this.#buffers = new SharedBuffers(program, device, pageCount);
    this.#readbacks = new Readbacks(device, watch);
    this.#executor = new Executor(program, device, pipelines, this.#buffers.byName, params);
  }

  setPages(slot: number, first: number, pages: readonly number[]): void {
    const { pagesPerSlot } = this.#executor.program;
    this.#buffers.write("table", slot * pagesPerSlot + first, Int32Array.from(pages));
  }

  setTokens(slot: number, position: number, tokenIds: readonly number[]): void {
    this.#buffers.write("history", this.#placeInHistory(slot, position), Int32Array.from(tokenIds));
  }

  prefill(slot: number, position: number, tokenIds: readonly number[]): void {
    this.#running = null;
    this.setTokens(slot, position, tokenIds);
    const rows = tokenIds.map((tokenId, index) => ({ tokenId, position: position + index, slot }));
    this.#writeInputs("chunk", this.limits.prefillChunkSize, rows);
    this.#submit([this.#bound("prefill", rows.length, CHUNK_INPUTS)]);
  }

  async chooseNext(slot: number, position: number, choice: RowChoice): Promise<Chosen> {
    this.#writeInputs("inputs", this.limits.maxRows, [{ tokenId: 0, position, slot }]);
    const choosing = this.#prepareChoice([choice], true);
    this.#submit(this.#chooserCalls(choosing, 1));
    const steps = await this.#read([slot], [position], 1, choosing, [choice]);
    return steps[0]?.[0] ?? missing();
  }

  step(rows: readonly Row[], steps: number): Promise<Chosen[][]> {
    for (const { slot, position, tokenId } of rows) {
      this.setTokens(slot, position, [tokenId]);
    }
    this.#writeInputs("inputs", this.limits.maxRows, rows);
    const choices = rows.map(({ choice }) => choice);
    const forward = this.#forward(rows.length);
    const isMasked = choices.some(({ nextMask }) => nextMask !== null);
    if (isMasked) {
      // The masks are made while the GPU works.
      this.#submit([forward]);
    }
    const choosing = this.#prepareChoice(choices, isMasked);
    const slots = rows.map(({ slot }) => slot);
    const positions = rows.map(({ position }) => position);
    this.#running = { slots, positions, choosing };
    const once = this.#chooserCalls(choosing, rows.length);
    const calls = Array.from({ length: steps }, () => [forward, ...once]).flat();
    this.#submit(isMasked ? once : calls);
    return this.#readRunning(steps, choices);
  }

  stepOn(steps: number): Promise<Chosen[][]> {
    if (this.#running === null) {
      throw new TransomError("internal", "There is no step to go on from.");
    }
    const { slots, choosing } = this.#running;
    const once = [this.#forward(slots.length), ...this.#chooserCalls(choosing, slots.length)];
    this.#submit(Array.from({ length: steps }, () => once).flat());
    return this.#readRunning(steps, []);
  }

  copyPage(from: number, to: number): void {
    this.#watch.throwIfFailed();
    this.#buffers.copyPage(from, to);
  }

  readPage(page: number): Promise<Uint8Array> {
    const { pageBytes, layers } = this.#buffers;
    return this.#readbacks.read(pageBytes * layers.length, (encoder, target) => {
      for (const [layer, buffer] of layers.entries()) {
        encoder.copyBufferToBuffer(buffer, page * pageBytes, target, layer * pageBytes, pageBytes);
      }
    });
  }

  writePage(page: number, bytes: Uint8Array): void {
    this.#buffers.writePage(page, bytes);
  }

  async readLogits(row: number): Promise<Float32Array> {
    const size = this.limits.vocabularySize * WORD_BYTES;
    const bytes = await this.#readbacks.read(size, (encoder, target) => {
      encoder.copyBufferToBuffer(this.#buffers.get("logits"), row * size, target, 0, size);
    });
    return new Float32Array(bytes.buffer);
  }

  async settle(): Promise<void> {
    await this.#watch.wait(this.#executor.device.queue.onSubmittedWorkDone());
  }

  dispose(): void {
    this.#watch.close();
    this.#executor.dispose();
    this.#buffers.dispose();
    this.#readbacks.dispose();
    for (const buffer of this.#params) {
      buffer.destroy();
    }
    this.#executor.device.destroy();
  }

  #forward(rows: number): BoundFunction {
    return rows === 1
      ? this.#bound("decode", 1, STEP_INPUTS)
      : this.#bound("batch", rows, STEP_INPUTS);
  }

  /** Write down how the rows are to be chosen. */
  #prepareChoice(choices: readonly RowChoice[], isMasked: boolean): Choosing {
    const masks = choices.map(({ nextMask }) => (isMasked ? (nextMask?.() ?? null) : null));
    const rows = choices.map(({ sampling }, row) =>
      samplerWords(sampling, (masks[row] ?? null) !== null),
    );
    this.#writeSamplers(rows);
    for (const [row, mask] of masks.entries()) {
      if (mask !== null) {
        const words = Math.ceil(this.limits.vocabularySize / 32);
        this.#buffers.write("mask", row * words, mask.subarray(0, words));
      }
    }
    return {
      chooser: commonChooser(rows),
      isAdjusted: rows.some(({ isAdjusted }) => isAdjusted),
      isRanked: choices.some(({ topLogprobs }) => topLogprobs !== null),
    };
  }

  #writeSamplers(rows: readonly SamplerWords[]): void {
    const words = new Int32Array(rows.length * SAMPLER_WORDS);
    rows.forEach((row, index) => {
      words.set(row.words, index * SAMPLER_WORDS);
    });
    const key = words.join();
    if (key !== this.#samplerWords) {
      this.#buffers.write("samplers", 0, words);
      this.#samplerWords = key;
    }
    for (const [row, { biases }] of rows.entries()) {
      if (biases.length > MAX_BIASES) {
        throw new TransomError(
          "invalid-request",
          `logitBias may name ${MAX_BIASES} tokens at most, not ${biases.length}.`,
        );
      }
      if (biases.length > 0) {
        const at = row * MAX_BIASES;
        this.#buffers.write(
          "bias_ids",
          at,
          Int32Array.from(biases, ([id]) => id),
        );
        this.#buffers.write(
          "bias_values",
          at,
          Float32Array.from(biases, ([, bias]) => bias),
        );
      }
    }
  }

  #chooserCalls({ chooser, isAdjusted, isRanked }: Choosing, rows: number): BoundFunction[] {
    const source = isAdjusted ? ADJUSTED_LOGITS : {};
    return [
      ...(isRanked ? [this.#bound("rank", rows)] : []),
      ...(isAdjusted ? [this.#bound("adjust", rows)] : []),
      this.#bound(chooser, rows, source),
      ...(isRanked ? [this.#bound("rank_chosen", rows)] : []),
    ];
  }

  #bound(name: string, rows: number, names: Readonly<Record<string, string>> = {}): BoundFunction {
    const key = `${name} ${names === ADJUSTED_LOGITS ? "adjusted" : ""}`;
    let bound = this.#functions.get(key);
    if (bound === undefined) {
      bound = this.#executor.bind(name, names);
      this.#functions.set(key, bound);
      if (!this.#used.has(name)) {
        this.#used.add(name);
        this.#onUse([...this.#used]);
      }
    }
    bound.setRows(rows);
    return bound;
  }

  #submit(calls: readonly BoundFunction[]): void {
    this.#watch.throwIfFailed();
    const { device } = this.#executor;
    const encoder = device.createCommandEncoder();
    const pass = encoder.beginComputePass();
    for (const call of calls) {
      call.encode(pass);
    }
    pass.end();
    device.queue.submit([encoder.finish()]);
  }

  #writeInputs(
    name: "inputs" | "chunk",
    size: number,
    rows: readonly { tokenId: number; position: number; slot: number }[],
  ): void {
    const words = new Int32Array(3 * size);
    rows.forEach(({ tokenId, position, slot }, index) => {
      words[index] = tokenId;
      words[size + index] = position;
      words[2 * size + index] = slot;
    });
    this.#buffers.write(name, 0, words);
  }

  async #readRunning(steps: number, choices: readonly RowChoice[]): Promise<Chosen[][]> {
    if (this.#running === null) {
      return [];
    }
    const { slots, positions, choosing } = this.#running;
    const from = [...positions];
    for (let row = 0; row < positions.length; row++) {
      positions[row] = (positions[row] ?? 0) + steps;
    }
    return this.#read(slots, from, steps, choosing, choices);
  }

  /** What the steps chose, from `history`: of each row the tokens behind its position. */
  async #read(
    slots: readonly number[],
    positions: readonly number[],
    steps: number,
    { isRanked }: Choosing,
    choices: readonly RowChoice[],
  ): Promise<Chosen[][]> {
    const tokenBytes = steps * WORD_BYTES;
    const rankedBytes = isRanked ? RANKED_WORDS * WORD_BYTES : 0;
    const rows = slots.length;
    const bytes = await this.#readbacks.read(
      rows * (tokenBytes + rankedBytes),
      (encoder, target) => {
        for (const [row, slot] of slots.entries()) {
          const from = this.#placeInHistory(slot, (positions[row] ?? 0) + 1) * WORD_BYTES;
          const history = this.#buffers.get("history");
          encoder.copyBufferToBuffer(history, from, target, row * tokenBytes, tokenBytes);
        }
        if (isRanked) {
          const ranked = this.#buffers.get("ranked");
          encoder.copyBufferToBuffer(ranked, 0, target, rows * tokenBytes, rows * rankedBytes);
        }
      },
    );
    const tokens = new Int32Array(bytes.buffer, 0, rows * steps);
    const ranked = new Float32Array(bytes.buffer, rows * tokenBytes);
    return Array.from({ length: steps }, (_, step) =>
      slots.map((_slot, row) => ({
        tokenId: tokens[row * steps + step] ?? 0,
        ...logprobsOf(ranked.subarray(row * RANKED_WORDS), choices[row]?.topLogprobs ?? null),
      })),
    );
  }

  #placeInHistory(slot: number, position: number): number {
    return slot * this.#buffers.historyStride + position;
  }
}

const CHUNK_INPUTS = { tokens: "chunk", inputs: "chunk" };
const STEP_INPUTS = { tokens: "inputs" };
const ADJUSTED_LOGITS = { logits: "adjusted" };

/** The chooser that serves all rows. Each gives a row the same token, alone and in company. */
function commonChooser(rows: readonly SamplerWords[]): Chooser {
  const kinds = new Set(rows.map(({ chooser }) => chooser));
  // All of them serve greedy rows.
  kinds.delete("greedy");
  const [only = "greedy"] = kinds;
  return kinds.size > 1 ? "draw_sorted" : only;
}

function logprobsOf(
  ranked: Float32Array,
  topLogprobs: number | null,
): Pick<Chosen, "logprob" | "top"> {
  if (topLogprobs === null || ranked.length === 0) {
    return { logprob: null, top: [] };
  }
  const count = Math.min(topLogprobs, RANKED_TOKENS);
  return {
    logprob: ranked[CHOSEN_LOGPROB] ?? 0,
    top: Array.from({ length: count }, (_, index) => ({
      tokenId: ranked[TOP_IDS + index] ?? 0,
      logprob: ranked[TOP_LOGPROBS + index] ?? 0,
    })),
  };
}

function missing(): never {
  throw new TransomError("internal", "A choice gave no token.");
}
