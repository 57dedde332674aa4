/**
 * llama.cpp as far as its messages go: it remembers its tokens, and the next is always last + 1. A
 * tokenizer of one character a token.
 */
import { type Message, type MessageName, decode, encode } from "../../web/src/worker/llama/glue.ts";
import type { LlamaProcess } from "../../web/src/worker/llama/llama.ts";

const VOCABULARY = 200;

export class FakeLlama implements LlamaProcess {
  readonly calls: string[] = [];
  readonly files = new Map<string, Blob>();
  tokenIds: number[] = [];
  /** Like a model with a state instead of a cache. */
  cannotGoBack = false;
  /** Like logits over 88. */
  overflows = false;
  isEnded = false;
  metadata: Record<string, string> = {};
  /** Tokens with a name and no text. */
  readonly names = new Map<number, string>();
  loaded: Message<"load_req"> | null = null;

  addFile(path: string, file: Blob): Promise<void> {
    this.files.set(path, file);
    return Promise.resolve();
  }

  call(action: string, message: Uint8Array): Promise<Uint8Array> {
    this.calls.push(action);
    const answer = this.#actions[action];
    return answer === undefined
      ? Promise.reject(new Error(`llama.cpp has no action ${action}`))
      : Promise.resolve(answer(message));
  }

  end(): void {
    this.isEnded = true;
  }

  readonly #actions: Record<string, (message: Uint8Array) => Uint8Array> = {
    load: answering("load_req", "load_res", (request) => {
      this.loaded = request;
      return {
        success: true,
        n_ctx: request.n_ctx,
        n_batch: 512,
        n_ubatch: 512,
        n_vocab: VOCABULARY,
        n_ctx_train: 2048,
        n_embd: 3,
        n_layer: 1,
        metadata_key: Object.keys(this.metadata),
        metadata_val: Object.values(this.metadata),
        token_bos: 1,
        token_eos: 2,
        token_eot: -1,
        list_tokens_eog: [2, 3],
        add_bos_token: true,
        add_eos_token: false,
        has_encoder: false,
        token_decoder_start: -1,
      };
    }),
    decode: answering("deco_req", "deco_res", ({ tokens }) => {
      this.tokenIds.push(...Array.from(tokens));
      const isKnown = this.tokenIds.every((id) => id < VOCABULARY);
      return { success: isKnown, message: "no such token", n_past: this.tokenIds.length };
    }),
    get_logits: answering("glog_req", "glog_res", ({ top_k: count }) => {
      const next = ((this.tokenIds.at(-1) ?? 0) + 1) % VOCABULARY;
      const others = Array.from({ length: VOCABULARY }, (_, id) => id).filter((id) => id !== next);
      const tokens = [next, ...others].slice(0, count < 0 ? VOCABULARY : count);
      const probs = tokens.map((id) =>
        id === next ? (this.overflows ? NaN : 0.75) : id === others[0] ? 0.25 : 0,
      );
      return { success: true, tokens, probs };
    }),
    kv_clear: answering("kvcc_req", "kvcc_res", () => {
      this.tokenIds = [];
      return { success: true, n_past: 0 };
    }),
    kv_remove: answering("kvcr_req", "kvcr_res", ({ n_keep: count }) => {
      if (!this.cannotGoBack) {
        this.tokenIds.length = count;
      }
      return { success: !this.cannotGoBack, n_past: this.tokenIds.length };
    }),
    embeddings: answering("gemb_req", "gemb_res", ({ tokens }) => {
      this.tokenIds.push(...Array.from(tokens));
      return { success: true, message: "", embeddings: [this.tokenIds.length, tokens[0] ?? 0, 0] };
    }),
    tokenize: answering("tokn_req", "tokn_res", ({ text, special }) => {
      const named = [...this.names].find(([, name]) => name === text);
      return {
        success: true,
        tokens:
          special && named !== undefined
            ? [named[0]]
            : Array.from(text, (character) => character.charCodeAt(0)),
      };
    }),
    get_vocab: answering("gvoc_req", "gvoc_res", () => {
      const encoder = new TextEncoder();
      const tokens = Array.from({ length: VOCABULARY }, (_, id) =>
        // Beyond ASCII a token is one byte of a longer character.
        id < 0x80
          ? encoder.encode(this.names.get(id) ?? String.fromCharCode(id))
          : Uint8Array.of(id),
      );
      // A slip of wllama's: first comes as much room as there are tokens.
      return { success: true, vocab: [...tokens.map(() => new Uint8Array(0)), ...tokens] };
    }),
  };
}

function answering<Q extends MessageName, R extends MessageName>(
  request: Q,
  response: R,
  answer: (message: Message<Q>) => Message<R>,
): (message: Uint8Array) => Uint8Array {
  return (message) => encode(response, answer(decode(request, message)));
}
