/** A GGUF that embeds, on the processor: `EncoderRuntime` over llama.cpp. */
import type { EncoderRuntime } from "../runtime.ts";
import type { Llama } from "./llama.ts";

export class LlamaEncoder implements EncoderRuntime {
  readonly contextWindowSize: number;
  readonly #llama: Llama;

  /** @param llama with its model loaded, to embed. */
  constructor(llama: Llama, contextWindowSize: number) {
    this.#llama = llama;
    this.contextWindowSize = contextWindowSize;
  }

  /** Vectors of length 1: wllama gives no others, so `normalize: false` changes nothing here. */
  async encode(texts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (const tokenIds of texts) {
      // What another text left behind would count as what came before this one.
      await this.#llama.clear();
      vectors.push(await this.#llama.embed(tokenIds));
    }
    return vectors;
  }

  dispose(): void {
    this.#llama.end();
  }
}
