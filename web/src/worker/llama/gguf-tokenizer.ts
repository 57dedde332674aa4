/**
 * The tokenizer that a GGUF has in itself, as llama.cpp runs it: for a model without `tokenizer.json`.
 * It is asked in its worker, so ids of a text take a message there and back.
 */
import { TransomError } from "../../errors.ts";
import type { ChatTokenizer } from "../chat-tokenizer.ts";
import { type DecodingOptions, Detokenizer, type TokenBytes } from "../detokenizer.ts";
import type { Llama, LlamaModel } from "./llama.ts";

const NO_BYTES = new Uint8Array(0);

export class GgufTokenizer implements ChatTokenizer {
  readonly #llama: Llama;
  readonly #model: LlamaModel;
  readonly table: TokenBytes;

  get vocabularySize(): number {
    return this.table.size;
  }

  private constructor(llama: Llama, model: LlamaModel, table: TokenBytes) {
    this.#llama = llama;
    this.#model = model;
    this.table = table;
  }

  /** @param llama with this model loaded. */
  static async open(llama: Llama, model: LlamaModel): Promise<GgufTokenizer> {
    const bytes = await llama.vocabulary(model.vocabularySize);
    const specials = await findSpecials(llama, model, bytes);
    return new GgufTokenizer(llama, model, new GgufTokens(bytes, specials, model));
  }

  /** Of a whole prompt: llama.cpp puts its first token before one that has none. */
  async encode(text: string): Promise<number[]> {
    const { addsBos, bosTokenId } = this.#model;
    const ids = await this.#llama.tokenize(text);
    return addsBos && bosTokenId !== null && ids[0] !== bosTokenId ? [bosTokenId, ...ids] : ids;
  }

  encodeWhole(text: string): Promise<number[]> {
    return this.encodeAs(text, true, true);
  }

  async encodeAs(text: string, special: boolean, around: boolean): Promise<number[]> {
    const { addsBos, bosTokenId, addsEos, eosTokenId } = this.#model;
    const ids = await this.#llama.tokenize(text, special);
    const before = addsBos && bosTokenId !== null && ids[0] !== bosTokenId ? [bosTokenId] : [];
    const behind = addsEos && eosTokenId !== null ? [eosTokenId] : [];
    return around ? [...before, ...ids, ...behind] : ids;
  }

  /** The token's own spelling; the empty text for none. */
  spelling(tokenId: number | null): string {
    const { specials } = this.table;
    return tokenId === null
      ? ""
      : new TextDecoder().decode(specials.get(tokenId) ?? this.table.bytesOf(tokenId));
  }

  startDecoding(options?: DecodingOptions): Detokenizer {
    return new Detokenizer(this.table, options);
  }
}

/** The bytes of each token, as llama.cpp has them. */
class GgufTokens implements TokenBytes {
  readonly #bytes: readonly Uint8Array[];
  readonly stripsFirstSpace: boolean;
  readonly specials: ReadonlyMap<number, Uint8Array>;

  constructor(
    bytes: readonly Uint8Array[],
    specials: ReadonlySet<number>,
    { metadata }: LlamaModel,
  ) {
    this.#bytes = bytes.map((each, id) => (specials.has(id) ? NO_BYTES : each));
    this.specials = new Map([...specials].map((id) => [id, bytes[id] ?? NO_BYTES]));
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

/** As names of special tokens look; ordinary ones do, too (`<div>`). */
const NAME = /^(?:<.+>|\[.+\])$/s;
/** Vocabularies have a few hundred at most. */
const MOST_NAMES = 2048;

/**
 * The tokens that have no text but a name. wllama does not tell them; a name that is read as one token
 * only where special tokens are asked for is one.
 */
async function findSpecials(
  llama: Llama,
  { endTokenIds, bosTokenId }: LlamaModel,
  bytes: readonly Uint8Array[],
): Promise<ReadonlySet<number>> {
  const specials = new Set(bosTokenId === null ? endTokenIds : [bosTokenId, ...endTokenIds]);
  const decoder = new TextDecoder();
  const names = Array.from(bytes, (each, id) => ({ id, name: decoder.decode(each) }))
    .filter(({ id, name }) => !specials.has(id) && NAME.test(name))
    .slice(0, MOST_NAMES);
  for (const { id, name } of names) {
    const asSpecial = await llama.tokenize(name, true);
    if (asSpecial.length === 1 && asSpecial[0] === id) {
      const asText = await llama.tokenize(name, false);
      if (asText.length !== 1) {
        specials.add(id);
      }
    }
  }
  return specials;
}
