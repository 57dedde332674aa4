/** A model library that makes one vector of a text: the real `EncoderRuntime`. */
import type * as tvmjs from "@mlc-ai/web-runtime";

import type { EncoderRuntime } from "./runtime.ts";
import type { TvmLibrary } from "./tvm-library.ts";

export class TvmEncoder implements EncoderRuntime {
  readonly #library: TvmLibrary;
  readonly #params: tvmjs.TVMObject;
  readonly #encode: tvmjs.PackedFunc;

  /** @param library with all its parameters uploaded. */
  constructor(library: TvmLibrary) {
    this.#library = library;
    this.#params = library.bindParameters();
    this.#encode = library.scoped(() => library.own("encode"));
  }

  get contextWindowSize(): number {
    return this.#library.metadata.contextWindowSize;
  }

  async encode(texts: readonly (readonly number[])[]): Promise<Float32Array[]> {
    const landed = texts.map((tokenIds) => this.#begin(tokenIds));
    await this.#library.settle();
    return landed.map((copy) => {
      const vector = copy.toArray() as Float32Array;
      copy.dispose();
      return vector;
    });
  }

  /** Where a text's vector will lie once the GPU has come to it. */
  #begin(tokenIds: readonly number[]): tvmjs.Tensor {
    const { tvm, device } = this.#library;
    return this.#library.scoped(() => {
      const tokens = tvm.empty([tokenIds.length], "int32", device).copyFrom([...tokenIds]);
      const vector = this.#encode(tokens, this.#params) as tvmjs.Tensor;
      return this.#library.keep(tvm.empty(vector.shape, "float32", tvm.cpu()).copyFrom(vector));
    });
  }

  dispose(): void {
    this.#library.dispose();
  }
}
