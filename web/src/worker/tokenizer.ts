/** Text to token ids, by the model's own `tokenizer.json`. */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";

import { TransomError, describe } from "../errors.ts";
import { Detokenizer, TokenTable, type TokenizerJson } from "./detokenizer.ts";
import { type NormalizerJson, exactNormalizer } from "./normalizer.ts";
import { type PreTokenizerJson, withUnicodeClasses } from "./pre-tokenizer.ts";

type Normalizer = HuggingFaceTokenizer["normalizer"];

export class Tokenizer {
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #json: TokenizerJson;
  #table: TokenTable | null = null;

  /** @throws TransomError `invalid-bundle` when the file is not a tokenizer that we can run. */
  constructor(bytes: Uint8Array) {
    try {
      const json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
      requireTokenizerJson(json);
      const preTokenizer = json.pre_tokenizer ? withUnicodeClasses(json.pre_tokenizer) : null;
      this.#tokenizer = new HuggingFaceTokenizer({ ...json, pre_tokenizer: preTokenizer }, {});
      const normalize = exactNormalizer(json.normalizer);
      if (normalize !== null) {
        // The library only ever calls it.
        this.#tokenizer.normalizer = normalize as unknown as Normalizer;
      }
      this.#json = json;
    } catch (error) {
      if (error instanceof TransomError) {
        throw error;
      }
      throw new TransomError(
        "invalid-bundle",
        `tokenizer.json cannot be used: ${describe(error)}`,
        {
          cause: error,
        },
      );
    }
  }

  /** Ids of a text that already holds its special tokens (the chat template writes them). */
  encode(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: false }).ids;
  }

  /** Ids of a whole text with the special tokens that its model puts around one ([CLS], [SEP]). */
  encodeWhole(text: string): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: true }).ids;
  }

  /** The token's own spelling (`<|im_start|>`), or null for an unknown id. */
  spelling(tokenId: number): string | null {
    return this.#tokenizer.id_to_token(tokenId) ?? null;
  }

  /**
   * A fresh decoder for one answer.
   *
   * @throws TransomError `invalid-bundle` when the file names none that we know; a model that does
   * not speak needs none.
   */
  startDecoding(): Detokenizer {
    this.#table ??= new TokenTable(this.#json);
    return new Detokenizer(this.#table);
  }
}

function requireTokenizerJson(json: unknown): asserts json is TokenizerJson & {
  pre_tokenizer: PreTokenizerJson | null;
  normalizer: NormalizerJson | null;
} {
  const { model, added_tokens: added } = (json ?? {}) as Partial<TokenizerJson>;
  if (typeof model?.vocab !== "object" || !Array.isArray(added)) {
    throw new TransomError("invalid-bundle", "tokenizer.json has no model.vocab or added_tokens.");
  }
}
