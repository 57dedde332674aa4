/** What a conversation needs of a tokenizer: ours, or the one that llama.cpp finds in a GGUF. */
import type { DecodingOptions, Detokenizer, TokenBytes } from "./detokenizer.ts";

export interface ChatTokenizer {
  /** One more than the largest id; a model may have places for more. */
  readonly vocabularySize: number;
  /** The bytes of each token. */
  readonly table: TokenBytes;
  /** Ids of a text that already holds its special tokens (the chat template writes them). */
  encode(text: string): number[] | Promise<number[]>;
  /** Ids of a whole text with the special tokens that its model puts around one. */
  encodeWhole(text: string): number[] | Promise<number[]>;
  /**
   * Ids of any text.
   *
   * @param special names of special tokens are read as such, else as the text that they are.
   * @param around with the special tokens that the model puts around a whole text.
   */
  encodeAs(text: string, special: boolean, around: boolean): number[] | Promise<number[]>;
  /** A fresh decoder for one answer. */
  startDecoding(options?: DecodingOptions): Detokenizer;
}
