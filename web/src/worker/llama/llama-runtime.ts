/** A GGUF that speaks, on the processor: `ModelRuntime` over llama.cpp. */
import type { ModelRuntime } from "../runtime.ts";
import type { Llama } from "./llama.ts";

/**
 * Tokens between two looks at an abort. llama.cpp's wasm gains nothing from more at once: 30 to 38
 * tokens a second with 1, 4, 16, 64 and 256 of SmolLM2.
 */
const PREFILL_CHUNK = 8;

export class LlamaRuntime implements ModelRuntime {
  readonly contextWindowSize: number;
  readonly prefillChunkSize = PREFILL_CHUNK;
  readonly #llama: Llama;
  readonly #logits: Float32Array;
  /** Everything asked of llama.cpp so far; what failed is heard by whoever waits next. */
  #work: Promise<void> = Promise.resolve();
  /** The tokens in the KV cache. */
  #tokenIds: number[] = [];

  /** @param llama with its model loaded. */
  constructor(llama: Llama, contextWindowSize: number, vocabularySize: number) {
    this.#llama = llama;
    this.contextWindowSize = contextWindowSize;
    this.#logits = new Float32Array(vocabularySize);
  }

  clear(): void {
    this.#tokenIds = [];
    // What failed before does not matter any more.
    this.#work = this.#work.catch(() => undefined).then(() => this.#llama.clear());
    this.#leave();
  }

  keep(count: number): void {
    if (count === this.#tokenIds.length) {
      return;
    }
    this.#tokenIds.length = count;
    const kept = this.#tokenIds.slice();
    this.#queue(async () => {
      if (!(await this.#llama.keep(kept.length))) {
        // Models with a state instead of a cache cannot go back: they read it all again.
        await this.#llama.clear();
        await this.#llama.decode(kept);
      }
    });
  }

  forward(tokenIds: readonly number[]): void {
    this.#tokenIds.push(...tokenIds);
    this.#queue(() => this.#llama.decode(tokenIds));
  }

  async argmax(): Promise<number> {
    await this.#work;
    return this.#llama.likeliest();
  }

  /** Natural logarithms of probabilities: logits, moved so that they sum to one in all. */
  async readLogits(): Promise<Float32Array> {
    await this.#work;
    const { tokenIds, values } = await this.#llama.probabilities();
    for (let index = 0; index < tokenIds.length; index++) {
      this.#logits[tokenIds[index] ?? 0] = logOf(values[index] ?? 0);
    }
    return this.#logits;
  }

  settle(): Promise<void> {
    return this.#work;
  }

  dispose(): void {
    this.#llama.end();
  }

  #queue(work: () => Promise<void>): void {
    this.#work = this.#work.then(work);
    this.#leave();
  }

  /** Nobody has to be listening yet when something fails. */
  #leave(): void {
    this.#work.catch(() => undefined);
  }
}

/**
 * Of a probability in 32 bits. What is too small for them is only very unlikely: a mask may leave
 * nothing else. wllama's sum overflows for logits over 88, whose tokens are then all but certain.
 */
function logOf(probability: number): number {
  return Number.isNaN(probability) ? 0 : Math.log(Math.max(probability, SMALLEST));
}

const SMALLEST = 2 ** -149;
