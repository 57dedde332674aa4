/**
 * What the generation loop needs from a loaded model, below tokens and sampling.
 *
 * `tvm-runtime.ts` is the real one; tests bring a fake. Calls are strictly one after another.
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
