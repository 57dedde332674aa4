/** A loaded model that turns texts into vectors. Tokenizer over an encoder; no GPU, no messages. */
import { TransomError } from "../errors.ts";
import type { Embeddings, EmbedRequest } from "../protocol.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import type { EncoderRuntime } from "./runtime.ts";

export class EmbeddingModel {
  readonly #runtime: EncoderRuntime;
  readonly #tokenizer: Pick<ChatTokenizer, "encodeWhole">;
  #isBusy = false;

  constructor(runtime: EncoderRuntime, tokenizer: Pick<ChatTokenizer, "encodeWhole">) {
    this.#runtime = runtime;
    this.#tokenizer = tokenizer;
  }

  /**
   * One vector for each text, in order.
   *
   * A text that is too long is an error, never cut: a vector of its beginning would look as good as
   * any. All lengths are checked before the first text runs.
   *
   * @throws TransomError `context-overflow` naming the text, `busy`, or what the runtime throws.
   */
  async embed({ texts, normalize = true }: EmbedRequest): Promise<Embeddings> {
    if (this.#isBusy) {
      throw new TransomError("busy", "Texts are being embedded already; wait for them.");
    }
    this.#isBusy = true;
    try {
      const tokenIds: number[][] = [];
      for (const [index, text] of texts.entries()) {
        const ids = await this.#tokenizer.encodeWhole(text);
        this.#checkLength(ids.length, index, texts.length);
        tokenIds.push(ids);
      }
      const vectors: Float32Array[] = [];
      for (const ids of tokenIds) {
        const vector = await this.#runtime.encode(ids);
        vectors.push(normalize ? toUnitLength(vector) : vector);
      }
      return { vectors, tokenCounts: tokenIds.map(({ length }) => length) };
    } finally {
      this.#isBusy = false;
    }
  }

  dispose(): void {
    this.#runtime.dispose();
  }

  #checkLength(length: number, index: number, count: number): void {
    const window = this.#runtime.contextWindowSize;
    const which = count === 1 ? "The text" : `Text ${index + 1} of ${count}`;
    if (length > window) {
      throw new TransomError(
        "context-overflow",
        `${which} has ${length} tokens; this model takes ${window}. Split it into shorter ones.`,
      );
    }
    if (length === 0) {
      throw new TransomError("invalid-request", `${which} has no tokens.`);
    }
  }
}

/** The vector over its Euclidean length; a vector of zeros, which has no direction, as it is. */
function toUnitLength(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
