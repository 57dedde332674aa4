/** What a conversation needs of a tokenizer: ours, or the one that llama.cpp finds in a GGUF. */
import type { Detokenizer, TokenBytes } from "./detokenizer.ts";

export interface ChatTokenizer {
  /** The bytes of each token. */
  readonly table: TokenBytes;
  /** Ids of a text that already holds its special tokens (the chat template writes them). */
  encode(text: string): number[] | Promise<number[]>;
  /** Ids of a whole text with the special tokens that its model puts around one. */
  encodeWhole(text: string): number[] | Promise<number[]>;
  /** A fresh decoder for one answer. */
  startDecoding(): Detokenizer;
}
