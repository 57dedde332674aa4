/** A model that is honest and tiny: it remembers its tokens, and the next is always last + 1. */
import type { ModelRuntime } from "../../web/src/worker/runtime.ts";

export class FakeRuntime implements ModelRuntime {
  readonly contextWindowSize: number;
  readonly prefillChunkSize: number;
  readonly forwards: number[][] = [];
  readonly vocabularySize = 100;
  kvCache: number[] = [];
  clears = 0;
  logitReads = 0;
  /** Runs at every wait for the GPU, with the number of waits so far. */
  onSettle: (waits: number) => void = () => undefined;
  #waits = 0;

  constructor(contextWindowSize = 32, prefillChunkSize = 4) {
    this.contextWindowSize = contextWindowSize;
    this.prefillChunkSize = prefillChunkSize;
  }

  clear(): void {
    this.clears++;
    this.kvCache = [];
  }

  forward(tokenIds: readonly number[]): void {
    if (tokenIds.length > this.prefillChunkSize) {
      throw new Error("chunk too large");
    }
    if (this.kvCache.length + tokenIds.length > this.contextWindowSize) {
      throw new Error("KV cache overflow");
    }
    this.forwards.push([...tokenIds]);
    this.kvCache.push(...tokenIds);
  }

  async argmax(): Promise<number> {
    await this.settle();
    return this.#next();
  }

  async readLogits(): Promise<Float32Array> {
    this.logitReads++;
    await this.settle();
    const logits = new Float32Array(this.vocabularySize);
    logits[this.#next()] = 50;
    return logits;
  }

  settle(): Promise<void> {
    this.onSettle(++this.#waits);
    return Promise.resolve();
  }

  dispose(): void {
    this.clear();
  }

  #next(): number {
    return ((this.kvCache.at(-1) ?? 0) + 1) % this.vocabularySize;
  }
}

/** One that can forget its last tokens and keep the others. */
export class RewindingRuntime extends FakeRuntime {
  keep(count: number): void {
    this.kvCache.length = count;
  }
}
