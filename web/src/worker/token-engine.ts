/** What is above an engine sees of it: `Engine` (one sequence) and `BatchEngine` (many) are both. */
import type { Done, GenerateRequest, TokenEvent } from "../protocol.ts";

export interface TokenEngine {
  readonly contextWindowSize: number;
  /** How many requests it answers at once; the others wait. */
  readonly parallel: number;

  /**
   * Generate until a stop token, the length limit, or abort.
   *
   * @param onToken called for each token of the answer; stop tokens are not part of it.
   * @throws TransomError `context-overflow`, `invalid-request`, or what the runtime throws.
   */
  generate(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done>;

  /**
   * Read a text whose every token is known: the logits that each token was up against.
   *
   * @param tokenIds the whole text; the first `prefilled` go in as a prompt does, in chunks, each
   *   later one as a decode step of its own.
   * @param onLogits called for each position from `prefilled` on, in order, with the logits after
   *   the tokens before it. They are valid until it returns.
   * @throws TransomError `context-overflow`, `invalid-request`, or what the runtime throws.
   */
  score(
    tokenIds: readonly number[],
    prefilled: number,
    onLogits: (logits: Float32Array, position: number) => void,
  ): Promise<void>;

  dispose(): void;
}
