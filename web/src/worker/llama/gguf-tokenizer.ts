/**
 * The tokenizer that a GGUF has in itself, as llama.cpp runs it: for a model without `tokenizer.json`.
 * It is asked in its worker, so ids of a text take a message there and back.
 */
import { TransomError } from "../../errors.ts";
import type { ChatTokenizer } from "../chat-tokenizer.ts";
import { Detokenizer, type TokenBytes } from "../detokenizer.ts";
import type { Llama, LlamaModel } from "./llama.ts";

const NO_BYTES = new Uint8Array(0);

export class GgufTokenizer implements ChatTokenizer {
  readonly #llama: Llama;
  readonly #model: LlamaModel;
  readonly table: TokenBytes;

  private constructor(llama: Llama, model: LlamaModel, table: TokenBytes) {
    this.#llama = llama;
    this.#model = model;
    this.table = table;
  }

  /** @param llama with this model loaded. */
  static async open(llama: Llama, model: LlamaModel): Promise<GgufTokenizer> {
    const bytes = await llama.vocabulary(model.vocabularySize);
    return new GgufTokenizer(llama, model, new GgufTokens(bytes, model));
  }

  /** Of a whole prompt: llama.cpp puts its first token before one that has none. */
  async encode(text: string): Promise<number[]> {
    const { addsBos, bosTokenId } = this.#model;
    const ids = await this.#llama.tokenize(text);
    return addsBos && bosTokenId !== null && ids[0] !== bosTokenId ? [bosTokenId, ...ids] : ids;
  }

  async encodeWhole(text: string): Promise<number[]> {
    const { addsEos, eosTokenId } = this.#model;
    const ids = await this.encode(text);
    return addsEos && eosTokenId !== null ? [...ids, eosTokenId] : ids;
  }

  /** The token's own spelling; the empty text for none. */
  spelling(tokenId: number | null): string {
    return tokenId === null ? "" : new TextDecoder().decode(this.table.bytesOf(tokenId));
  }

  startDecoding(): Detokenizer {
    return new Detokenizer(this.table);
  }
}

/** The bytes of each token, as llama.cpp has them. */
class GgufTokens implements TokenBytes {
  readonly #bytes: readonly Uint8Array[];
  readonly stripsFirstSpace: boolean;

  constructor(bytes: readonly Uint8Array[], { metadata }: LlamaModel) {
    this.#bytes = bytes;
    // SentencePiece writes a space before a text, unless the file says otherwise.
    this.stripsFirstSpace =
      metadata.get("tokenizer.ggml.model") === "llama" &&
      metadata.get("tokenizer.ggml.add_space_prefix") !== "false";
  }

  get size(): number {
    return this.#bytes.length;
  }

  bytesOrNone(tokenId: number): Uint8Array {
    return this.#bytes[tokenId] ?? NO_BYTES;
  }

  bytesOf(tokenId: number): Uint8Array {
    const bytes = this.#bytes[tokenId];
    if (bytes === undefined) {
      throw new TransomError("invalid-bundle", `The GGUF has no token with id ${tokenId}.`);
    }
    return bytes;
  }
}
