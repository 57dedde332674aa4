/** Files as context: text of documents, passages of it, and those that answer a question. */
import type { DocumentAttachment, Source } from "../chat/types.ts";

/** A document as text. */
export interface DocumentText {
  /** Plain text of each page; one for documents without pages. */
  pages: readonly string[];
}

/** Vectors of length 1, one for each text. Null: no embedding model is at hand. */
export type Embed = (
  texts: readonly string[],
  signal: AbortSignal,
) => Promise<readonly Float32Array[]>;

/** What the chat asks of documents. */
export interface Retrieval {
  /**
   * The passages of these documents that tell most about the question, best first; whole documents
   * where they fit into `budgetCharacters`.
   */
  retrieve(
    question: string,
    documents: readonly DocumentAttachment[],
    options: { budgetCharacters: number; signal: AbortSignal },
  ): Promise<readonly Source[]>;
}
