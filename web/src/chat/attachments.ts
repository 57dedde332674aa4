/**
 * What the attachments of a branch bring to a request: images as the API takes them, and passages of
 * documents for its last question.
 */
import type { Retrieval } from "../documents/types.ts";
import type { Turn } from "./types.ts";

/** Of the context window, for passages of documents: the rest is for the conversation. */
const DOCUMENTS_SHARE = 0.4;
/** Where nobody told the window's size: llama.cpp's and Ollama's default. */
const USUAL_CONTEXT_TOKENS = 4096;
/** Of a token, roughly, in languages with letters. */
const CHARACTERS_PER_TOKEN = 3.5;

/** Images of all branches so far, each read once. */
export class Images {
  readonly #read: (sha256: string) => Promise<string | null>;
  readonly #urls = new Map<string, string>();

  /** @param read gives an image's `data:` URL; null: it is not kept any more. */
  constructor(read: (sha256: string) => Promise<string | null>) {
    this.#read = read;
  }

  async readAll(branch: readonly Turn[]): Promise<void> {
    for (const { kind, sha256 } of branch.flatMap(({ attachments }) => attachments)) {
      if (kind === "image" && !this.#urls.has(sha256)) {
        const url = await this.#read(sha256);
        if (url !== null) {
          this.#urls.set(sha256, url);
        }
      }
    }
  }

  /** Null: it is not kept any more. */
  urlOf(sha256: string): string | null {
    return this.#urls.get(sha256) ?? null;
  }
}

/**
 * The last question of a branch with passages of the branch's documents. Null: there are none, it
 * has its passages already, or the last turn is no question.
 */
export async function questionWithSources(
  branch: readonly Turn[],
  retrieval: Retrieval,
  contextWindowSize: number | null,
  signal: AbortSignal,
): Promise<Turn | null> {
  const question = branch.at(-1);
  const documents = branch.flatMap(({ attachments }) =>
    attachments.filter((each) => each.kind === "document"),
  );
  if (question?.role !== "user" || documents.length === 0 || question.sources.length > 0) {
    return null;
  }
  const tokens = contextWindowSize ?? USUAL_CONTEXT_TOKENS;
  const sources = await retrieval.retrieve(question.text, documents, {
    budgetCharacters: Math.floor(tokens * DOCUMENTS_SHARE * CHARACTERS_PER_TOKEN),
    signal,
  });
  return { ...question, sources };
}
