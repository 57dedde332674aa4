/** A loaded model that turns texts into vectors. Tokenizer over an encoder; no GPU, no messages. */
import { TransomError } from "../errors.ts";
import type { Embeddings, EmbedRequest } from "../protocol.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import type { EncoderRuntime } from "./runtime.ts";
import { requireTokens } from "./token-text.ts";
import { WaitingLine } from "./waiting-line.ts";

type EmbeddingTokenizer = Pick<ChatTokenizer, "encodeWhole" | "vocabularySize">;

/** Each of a run has a buffer that its vector lands in. */
const MOST_IN_RUN = 64;

export class EmbeddingModel {
  readonly #runtime: EncoderRuntime;
  readonly #tokenizer: EmbeddingTokenizer;
  readonly #line = new WaitingLine();

  constructor(runtime: EncoderRuntime, tokenizer: EmbeddingTokenizer) {
    this.#runtime = runtime;
    this.#tokenizer = tokenizer;
  }

  /**
   * One vector for each text, in order; requests wait for each other.
   *
   * A text that is too long is an error, never cut: a vector of its beginning would look as good as
   * any. All lengths are checked before the first text runs.
   *
   * Short texts run together: no run is longer than the longest text may be.
   *
   * @param signal looked at between two runs.
   * @throws TransomError `context-overflow` naming the text, `invalid-request` for a token that there
   *   is not, `aborted`, or what the runtime throws.
   */
  async embed(request: EmbedRequest, signal?: AbortSignal): Promise<Embeddings> {
    const embeddings = await this.#line.enter(() => this.#embed(request, signal), signal);
    return embeddings ?? stopped();
  }

  async #embed(
    { texts, normalize = true }: EmbedRequest,
    signal: AbortSignal | undefined,
  ): Promise<Embeddings> {
    const tokenIds: (readonly number[])[] = [];
    for (const [index, text] of texts.entries()) {
      const ids = await this.#idsOf(text);
      this.#checkLength(ids.length, index, texts.length);
      tokenIds.push(ids);
    }
    const vectors: Float32Array[] = [];
    for (const run of runsOf(tokenIds, this.#runtime.contextWindowSize)) {
      if (signal?.aborted === true) {
        stopped();
      }
      vectors.push(...(await this.#runtime.encode(run)));
    }
    return {
      vectors: normalize ? vectors.map(toUnitLength) : vectors,
      tokenCounts: tokenIds.map(({ length }) => length),
    };
  }

  #idsOf(text: EmbedRequest["texts"][number]): readonly number[] | Promise<readonly number[]> {
    if (typeof text === "string") {
      return this.#tokenizer.encodeWhole(text);
    }
    requireTokens(this.#tokenizer.vocabularySize, text);
    return text;
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

/** The same texts in the same order, in runs of so many tokens at most. */
function* runsOf(
  texts: readonly (readonly number[])[],
  mostTokens: number,
): Generator<(readonly number[])[]> {
  let run: (readonly number[])[] = [];
  let tokens = 0;
  for (const text of texts) {
    if (tokens + text.length > mostTokens || run.length === MOST_IN_RUN) {
      yield run;
      run = [];
      tokens = 0;
    }
    run.push(text);
    tokens += text.length;
  }
  yield run;
}

function stopped(): never {
  throw new TransomError("aborted", "Nobody waits for these vectors any more.");
}

/** The vector over its Euclidean length; a vector of zeros, which has no direction, as it is. */
function toUnitLength(vector: Float32Array): Float32Array {
  const length = Math.sqrt(vector.reduce((sum, value) => sum + value * value, 0));
  return length === 0 ? vector : vector.map((value) => value / length);
}
