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

  async encode(tokenIds: readonly number[]): Promise<Float32Array> {
    const { tvm, device } = this.#library;
    const landed = this.#library.scoped(() => {
      const tokens = tvm.empty([tokenIds.length], "int32", device).copyFrom([...tokenIds]);
      const vector = this.#encode(tokens, this.#params) as tvmjs.Tensor;
      return this.#library.keep(tvm.empty(vector.shape, "float32", tvm.cpu()).copyFrom(vector));
    });
    await this.#library.settle();
    const vector = landed.toArray() as Float32Array;
    landed.dispose();
    return vector;
  }

  dispose(): void {
    this.#library.dispose();
  }
}
