/** The buffers that all functions of a program share, by the names that the program has for them. */
import { TransomError } from "../../errors.ts";
import type { Program } from "./program.ts";
import { MAX_BIASES, SAMPLER_WORDS } from "./sampler-words.ts";

const WORD_BYTES = 4;
/** Words of a row of `ranked`. */
export const RANKED_WORDS = 64;

/** Of each buffer, without the KV pages. */
function sharedWords(program: Program): Map<string, number> {
  const { rows, slots, vocabularySize } = program;
  return new Map([
    ["inputs", 3 * rows],
    ["chunk", 3 * program.prefillChunkSize],
    ["table", slots * program.pagesPerSlot],
    ["history", slots * (program.contextWindowSize + 1)],
    ["logits", rows * vocabularySize],
    ["adjusted", rows * vocabularySize],
    ["samplers", rows * SAMPLER_WORDS],
    ["bias_ids", rows * MAX_BIASES],
    ["bias_values", rows * MAX_BIASES],
    ["mask", rows * Math.ceil(vocabularySize / 32)],
    ["ranked", rows * RANKED_WORDS],
  ]);
}

/** What they take together. */
export function sharedBytes(program: Program): number {
  return [...sharedWords(program).values()].reduce((sum, words) => sum + words * WORD_BYTES, 0);
}

export class SharedBuffers {
  readonly byName: ReadonlyMap<string, GPUBuffer>;
  /** The KV pages of each layer. */
  readonly layers: readonly GPUBuffer[];
  /** Bytes of one page of one layer. */
  readonly pageBytes: number;
  /** Words of a slot in `history`. */
  readonly historyStride: number;
  readonly #device: GPUDevice;
  /** A page on its way: a copy within one buffer is not allowed. */
  readonly #page: GPUBuffer;

  constructor(program: Program, device: GPUDevice, pageCount: number) {
    this.#device = device;
    const { layers, pageSize } = program;
    this.historyStride = program.contextWindowSize + 1;
    this.pageBytes = (program.memory.kvBytesPerToken / layers) * pageSize;
    const make = (size: number) =>
      device.createBuffer({
        size,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
      });
    const byName = new Map(
      [...sharedWords(program)].map(([name, count]) => [name, make(count * WORD_BYTES)]),
    );
    this.layers = Array.from({ length: layers }, () => make(this.pageBytes * pageCount));
    this.layers.forEach((buffer, layer) => byName.set(`pages_${layer}`, buffer));
    this.byName = byName;
    this.#page = make(this.pageBytes);
  }

  get(name: string): GPUBuffer {
    const buffer = this.byName.get(name);
    if (buffer === undefined) {
      throw new TransomError("internal", `There is no buffer ${name}.`);
    }
    return buffer;
  }

  /** Queue new contents. @param at words from the buffer's start. */
  write(name: string, at: number, words: Int32Array | Float32Array): void {
    if (words.length > 0) {
      this.#device.queue.writeBuffer(
        this.get(name),
        at * WORD_BYTES,
        words.buffer,
        words.byteOffset,
        words.byteLength,
      );
    }
  }

  copyPage(from: number, to: number): void {
    const { pageBytes } = this;
    const encoder = this.#device.createCommandEncoder();
    for (const layer of this.layers) {
      encoder.copyBufferToBuffer(layer, from * pageBytes, this.#page, 0, pageBytes);
      encoder.copyBufferToBuffer(this.#page, 0, layer, to * pageBytes, pageBytes);
    }
    this.#device.queue.submit([encoder.finish()]);
  }

  /** @throws TransomError `invalid-request` where the bytes are not those of a page. */
  writePage(page: number, bytes: Uint8Array): void {
    const { pageBytes } = this;
    if (bytes.byteLength !== pageBytes * this.layers.length) {
      throw new TransomError("invalid-request", "These are not the bytes of a page of this model.");
    }
    for (const [index, layer] of this.layers.entries()) {
      this.#device.queue.writeBuffer(
        layer,
        page * pageBytes,
        bytes.buffer,
        bytes.byteOffset + index * pageBytes,
        pageBytes,
      );
    }
  }

  dispose(): void {
    for (const buffer of [...this.byName.values(), this.#page]) {
      buffer.destroy();
    }
  }
}
