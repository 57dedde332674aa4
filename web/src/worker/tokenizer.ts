/** Text to token ids, by the model's own `tokenizer.json`. */
import { Tokenizer as HuggingFaceTokenizer } from "@huggingface/tokenizers";

import { TransomError, describe } from "../errors.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import {
  type DecodingOptions,
  Detokenizer,
  TokenTable,
  type TokenizerJson,
  eachToken,
} from "./detokenizer.ts";
import { type NormalizerJson, exactNormalizer } from "./normalizer.ts";
import { type PreTokenizerJson, withUnicodeClasses } from "./pre-tokenizer.ts";

type Normalizer = HuggingFaceTokenizer["normalizer"];

export class Tokenizer implements ChatTokenizer {
  readonly #tokenizer: HuggingFaceTokenizer;
  /** The same without special tokens: their names are text like any other. */
  readonly #plain: () => HuggingFaceTokenizer;
  readonly #json: TokenizerJson;
  readonly #stripped: RegExp | null;
  #table: TokenTable | null = null;
  #vocabularySize: number | null = null;

  /** @throws TransomError `invalid-bundle` when the file is not a tokenizer that we can run. */
  constructor(bytes: Uint8Array) {
    try {
      const json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) as unknown;
      requireTokenizerJson(json);
      const preTokenizer = json.pre_tokenizer ? withUnicodeClasses(json.pre_tokenizer) : null;
      // White space is stripped here, by llama.cpp's idea of it.
      const addedTokens = json.added_tokens.map((token) => ({ ...token, rstrip: false }));
      this.#stripped = stripPattern(json.added_tokens);
      const normalize = exactNormalizer(json.normalizer);
      const build = (added: typeof addedTokens) => {
        const built = new HuggingFaceTokenizer(
          { ...json, added_tokens: added, pre_tokenizer: preTokenizer },
          {},
        );
        if (normalize !== null) {
          // The library only ever calls it.
          built.normalizer = normalize as unknown as Normalizer;
        }
        return built;
      };
      this.#tokenizer = build(addedTokens);
      let plain: HuggingFaceTokenizer | null = null;
      this.#plain = () => (plain ??= build(addedTokens.filter(({ special }) => !special)));
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
    return this.#tokenizer.encode(this.#strip(text), { add_special_tokens: false }).ids;
  }

  /** Ids of a whole text with the special tokens that its model puts around one ([CLS], [SEP]). */
  encodeWhole(text: string): number[] {
    return this.#tokenizer.encode(this.#strip(text), { add_special_tokens: true }).ids;
  }

  encodeAs(text: string, special: boolean, around: boolean): number[] {
    const tokenizer = special ? this.#tokenizer : this.#plain();
    const stripped = special ? this.#strip(text) : text;
    return tokenizer.encode(stripped, { add_special_tokens: around }).ids;
  }

  #strip(text: string): string {
    return this.#stripped === null ? text : text.replace(this.#stripped, "$1");
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
  startDecoding(options?: DecodingOptions): Detokenizer {
    return new Detokenizer(this.table, options);
  }

  get vocabularySize(): number {
    this.#vocabularySize ??= sizeOf(this.#json);
    return this.#vocabularySize;
  }

  /** The bytes of each token. @throws as `startDecoding` does. */
  get table(): TokenTable {
    this.#table ??= new TokenTable(this.#json);
    return this.#table;
  }
}

/**
 * Added tokens with the ASCII white space that they swallow after them (Phi-3's), or null.
 *
 * Rust and the library strip all white space: a Japanese text that starts with U+3000 would lose it.
 */
function stripPattern(added: TokenizerJson["added_tokens"]): RegExp | null {
  const tokens = added.filter(({ rstrip }) => rstrip === true).map(({ content }) => content);
  if (tokens.length === 0) {
    return null;
  }
  tokens.sort((a, b) => b.length - a.length);
  const escaped = tokens.map((token) => token.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`(${escaped.join("|")})[ \\t\\n\\v\\f\\r]+`, "gu");
}

/** One more than the largest id. */
function sizeOf({ added_tokens: added, model }: TokenizerJson): number {
  let largest = added.reduce((most, { id }) => Math.max(most, id), -1);
  eachToken(model.vocab, (_token, id) => {
    largest = Math.max(largest, id);
  });
  return largest + 1;
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
