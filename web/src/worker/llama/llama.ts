/**
 * llama.cpp as wllama's wasm offers it: one model, one sequence, calls strictly one after another.
 *
 * Knows its actions and what they answer; the worker it runs in is `llama-process.ts`'s.
 */
import { TransomError } from "../../errors.ts";
import { type Message, type MessageName, decode, encode } from "./glue.ts";

/** Where llama.cpp runs. */
export interface LlamaProcess {
  /** Lay a file into its memory, under this path. */
  addFile(path: string, file: Blob): Promise<void>;
  /** @throws TransomError; nothing more can be called after `engine-crashed`. */
  call(action: string, message: Uint8Array): Promise<Uint8Array>;
  end(): void;
}

export interface LlamaOptions {
  contextWindowSize: number;
  threads: number;
  isEmbedding: boolean;
}

/** What llama.cpp says of the model it has loaded. */
export interface LlamaModel {
  vocabularySize: number;
  /** What it was trained for. */
  trainedContext: number;
  /** Most tokens of one text that is not read from left to right. */
  batchSize: number;
  /** The GGUF's own key-value pairs, as text; llama.cpp cuts none but leaves arrays out. */
  metadata: ReadonlyMap<string, string>;
  bosTokenId: number | null;
  eosTokenId: number | null;
  /** Every token that ends an answer. */
  endTokenIds: readonly number[];
  addsBos: boolean;
  addsEos: boolean;
}

const MODEL_PATH = "model.gguf";
const FOLDER = "models/";

export class Llama {
  readonly #process: LlamaProcess;

  constructor(process: LlamaProcess) {
    this.#process = process;
  }

  /** @throws TransomError `out-of-memory`, or `invalid-bundle` with what llama.cpp complains of. */
  async load(gguf: Blob, options: LlamaOptions): Promise<LlamaModel> {
    await this.#process.addFile(MODEL_PATH, gguf);
    const loaded = await this.#call("load", "load_req", "load_res", {
      model_paths: [FOLDER + MODEL_PATH],
      // The file lies in its memory already: it is only pointed at.
      use_mmap: true,
      use_mlock: false,
      n_gpu_layers: 0,
      // Chance is ours (`sampler.ts`).
      seed: 0,
      n_ctx: options.contextWindowSize,
      n_ctx_auto: false,
      n_threads: options.threads,
      n_seq_max: 1,
      embeddings: options.isEmbedding,
      // Else windowed layers forget what a conversation may go back to.
      swa_full: true,
    });
    const { metadata_key: keys, metadata_val: values } = loaded;
    const id = (token: number) => (token < 0 ? null : token);
    return {
      vocabularySize: loaded.n_vocab,
      trainedContext: loaded.n_ctx_train,
      batchSize: loaded.n_ubatch,
      metadata: new Map(keys.map((key, index) => [key, values[index] ?? ""])),
      bosTokenId: id(loaded.token_bos),
      eosTokenId: id(loaded.token_eos),
      endTokenIds: Array.from(loaded.list_tokens_eog),
      addsBos: loaded.add_bos_token,
      addsEos: loaded.add_eos_token,
    };
  }

  /** Run tokens behind those that are in the KV cache. */
  async decode(tokenIds: readonly number[]): Promise<void> {
    const { success, message } = await this.#call("decode", "deco_req", "deco_res", {
      tokens: tokenIds,
      skip_logits: false,
    });
    require(success, message);
  }

  /** The likeliest token after the last one that ran. */
  async likeliest(): Promise<number> {
    const { tokens } = await this.#call("get_logits", "glog_req", "glog_res", { top_k: 1 });
    return tokens[0] ?? 0;
  }

  /** Every token and its probability after the last one that ran, likeliest first. */
  async probabilities(): Promise<{ tokenIds: ArrayLike<number>; values: ArrayLike<number> }> {
    const { tokens, probs } = await this.#call("get_logits", "glog_req", "glog_res", { top_k: -1 });
    return { tokenIds: tokens, values: probs };
  }

  /** Forget all tokens. */
  async clear(): Promise<void> {
    await this.#call("kv_clear", "kvcc_req", "kvcc_res", {});
  }

  /** Forget all tokens but the first ones. @returns false where this model cannot. */
  async keep(count: number): Promise<boolean> {
    const { success } = await this.#call("kv_remove", "kvcr_req", "kvcr_res", {
      n_keep: count,
      n_discard: -1,
    });
    return success;
  }

  /** The vector of a text's tokens, of length 1. */
  async embed(tokenIds: readonly number[]): Promise<Float32Array> {
    const answer = await this.#call("embeddings", "gemb_req", "gemb_res", { tokens: tokenIds });
    require(answer.success, answer.message);
    return Float32Array.from(answer.embeddings);
  }

  /** Token ids of a text, by the GGUF's own tokenizer. @param special also those that it spells out. */
  async tokenize(text: string, special = true): Promise<number[]> {
    const { tokens } = await this.#call("tokenize", "tokn_req", "tokn_res", { text, special });
    return Array.from(tokens);
  }

  /** The bytes that each of so many tokens stands for. */
  async vocabulary(size: number): Promise<readonly Uint8Array[]> {
    const { vocab } = await this.#call("get_vocab", "gvoc_req", "gvoc_res", {});
    // wllama puts them behind as many empty ones.
    return vocab.slice(-size);
  }

  end(): void {
    this.#process.end();
  }

  async #call<Q extends MessageName, R extends MessageName>(
    action: string,
    request: Q,
    response: R,
    message: Message<Q>,
  ): Promise<Message<R>> {
    return decode(response, await this.#process.call(action, encode(request, message)));
  }
}

function require(isDone: boolean, message: string): void {
  if (!isDone) {
    throw new TransomError("internal", `llama.cpp failed: ${message}`);
  }
}
