/**
 * What a loaded model can do, below texts and sampling: continue tokens, or make one vector of them.
 *
 * `tvm-runtime.ts` and `tvm-encoder.ts` are the real ones; tests bring fakes. Calls are strictly
 * one after another.
 */
export interface ModelRuntime {
  readonly contextWindowSize: number;
  /** Most tokens that one `forward` may take. */
  readonly prefillChunkSize: number;

  /** Forget all tokens: an empty KV cache. */
  clear(): void;
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
  /** Most tokens that `encode` may take. */
  readonly contextWindowSize: number;

  /** The vector of a text's tokens, of any length; waits for the GPU. */
  encode(tokenIds: readonly number[]): Promise<Float32Array>;
  dispose(): void;
}
