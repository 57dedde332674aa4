/**
 * The passages of documents that answer a question.
 *
 * Whole documents where they fit; else those passages that an embedding model and BM25 together put
 * first, merged by reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009). Without an
 * embedding model BM25 decides alone. Vectors are kept by file and model, so a document is
 * embedded once.
 */
import type { DocumentAttachment, Source } from "../chat/types.ts";
import { CONTEXT_WIDTH, costOf } from "./context.ts";
import { CUT_REVISION, type Passage, cutPassages } from "./passages.ts";
import { walk, widthOf } from "./text-width.ts";
import type { DocumentText, Embed, Retrieval } from "./types.ts";
import { WordIndex } from "./word-search.ts";

/** A document cut into passages, with the vectors that one model gave them. */
export interface EmbeddedPassages {
  /** Of the document's file. */
  sha256: string;
  /** Who made the vectors, and how the text was cut. */
  model: string;
  passages: readonly Passage[];
  vectors: readonly Float32Array[];
}

/** Where vectors are kept between visits. */
export interface PassageStore {
  read: (sha256: string, model: string) => Promise<EmbeddedPassages | null>;
  write: (row: EmbeddedPassages) => Promise<void>;
}

/** An embedding model that is at hand. */
export interface Embedder {
  /** Its name as the API calls it. */
  model: string;
  embed: Embed;
}

export interface RetrievalOptions {
  /** Text of a document that was attached; null: it is not in this browser any more. */
  textOf: (document: DocumentAttachment) => Promise<DocumentText | null>;
  /** Asked for each question; null: none is at hand. */
  embedder: () => Promise<Embedder | null>;
  store: PassageStore;
  /** Passages embedded so far, and of how many; at the end both are the same. */
  onProgress?: (done: number, total: number) => void;
  /** Its text is not in this browser any more; the others answer. */
  onMissing?: (document: DocumentAttachment) => void;
  /** Embedding failed, and words alone decide; for people to know. */
  onEmbeddingFailed?: (error: unknown) => void;
}

/** The constant of rank fusion: the paper's. */
const RANK_CONSTANT = 60;
/** Passages of one request: an answer every few seconds on a phone, so that progress shows and a stop is heard. */
const BATCH = 16;
/**
 * However large a context window is: what comes behind them rarely answers, and each is a second or so
 * of reading for a model on a phone.
 */
export const MOST_PASSAGES = 20;
/** A last passage is cut to what is left of the budget, unless that is less than a few sentences. */
const LEAST_CUT = 240;

interface Candidate {
  document: DocumentAttachment;
  /** Its number among the passages of its document. */
  number: number;
  page: number;
  text: string;
}

export class HybridRetrieval implements Retrieval {
  readonly #options: RetrievalOptions;

  constructor(options: RetrievalOptions) {
    this.#options = options;
  }

  /**
   * @param options.budgetCharacters of all that goes before the question, `contextOf`'s own included;
   *   counted as `text-width.ts` does, because an ideograph is a token and a letter a quarter of one.
   * @throws what `signal` was aborted with.
   */
  async retrieve(
    question: string,
    documents: readonly DocumentAttachment[],
    { budgetCharacters, signal }: { budgetCharacters: number; signal: AbortSignal },
  ): Promise<readonly Source[]> {
    const texts: [DocumentAttachment, DocumentText][] = [];
    for (const document of withoutDoubles(documents)) {
      const text = await this.#options.textOf(document);
      signal.throwIfAborted();
      if (text === null) {
        this.#options.onMissing?.(document);
      } else {
        texts.push([document, text]);
      }
    }
    const budget = budgetCharacters - CONTEXT_WIDTH;
    const whole = texts.flatMap(([document, text]) => wholeDocument(document, text));
    if (whole.reduce((sum, source) => sum + costOf(source), 0) <= budget) {
      return whole;
    }
    const candidates = texts.flatMap(([document, text]) =>
      cutPassages(text).map((passage, number) => ({ document, number, ...passage })),
    );
    const scores = await this.#score(question, candidates, signal);
    return fill(candidates, scores, budget);
  }

  /** Of each candidate its rank's worth, and its similarity to the question. */
  async #score(
    question: string,
    candidates: readonly Candidate[],
    signal: AbortSignal,
  ): Promise<Ranking> {
    const matches = new WordIndex(candidates.map(({ text }) => text)).search(question);
    const similarities = await this.#similarities(question, candidates, signal);
    const ranking: Ranking = { worth: new Map(), similarity: new Map() };
    for (const [rank, { index, coverage }] of matches.entries()) {
      addRank(ranking, index, rank);
      ranking.similarity.set(index, coverage);
    }
    if (similarities !== null) {
      const order = [...similarities.keys()].sort(
        (a, b) => (similarities[b] ?? 0) - (similarities[a] ?? 0) || a - b,
      );
      for (const [rank, index] of order.entries()) {
        addRank(ranking, index, rank);
        ranking.similarity.set(index, Math.max(0, similarities[index] ?? 0));
      }
    }
    return ranking;
  }

  /** Cosines; null without an embedding model, or where it fails, because words can still decide. */
  async #similarities(
    question: string,
    candidates: readonly Candidate[],
    signal: AbortSignal,
  ): Promise<readonly number[] | null> {
    try {
      const embedder = await this.#options.embedder();
      signal.throwIfAborted();
      if (embedder === null) {
        return null;
      }
      const vectors = await this.#vectorsOf(candidates, embedder, signal);
      const [asked] = await embedder.embed([question], signal);
      return asked === undefined ? null : vectors.map((vector) => dot(vector, asked));
    } catch (error) {
      signal.throwIfAborted();
      this.#options.onEmbeddingFailed?.(error);
      return null;
    }
  }

  async #vectorsOf(
    candidates: readonly Candidate[],
    embedder: Embedder,
    signal: AbortSignal,
  ): Promise<readonly Float32Array[]> {
    const files = new Map<string, Candidate[]>();
    for (const candidate of candidates) {
      const { sha256 } = candidate.document;
      const passages = files.get(sha256) ?? [];
      passages.push(candidate);
      files.set(sha256, passages);
    }
    const model = `${embedder.model}/${CUT_REVISION}`;
    const known = new Map<string, readonly Float32Array[]>();
    let done = 0;
    for (const [sha256, passages] of files) {
      const kept = await this.#options.store.read(sha256, model);
      if (kept?.vectors.length === passages.length) {
        known.set(sha256, kept.vectors);
        done += passages.length;
      }
    }
    for (const [sha256, passages] of files) {
      if (!known.has(sha256)) {
        const vectors = await this.#embedAll(passages, embedder, signal, (embedded) => {
          this.#options.onProgress?.(done + embedded, candidates.length);
        });
        known.set(sha256, vectors);
        done += passages.length;
        const plain = passages.map(({ page, text }) => ({ page, text }));
        await this.#options.store.write({ sha256, model, passages: plain, vectors });
      }
    }
    this.#options.onProgress?.(candidates.length, candidates.length);
    return candidates.flatMap(({ document, number }) => known.get(document.sha256)?.[number] ?? []);
  }

  async #embedAll(
    passages: readonly Candidate[],
    { model, embed }: Embedder,
    signal: AbortSignal,
    onBatch: (done: number) => void,
  ): Promise<Float32Array[]> {
    const vectors: Float32Array[] = [];
    for (let from = 0; from < passages.length; from += BATCH) {
      signal.throwIfAborted();
      onBatch(from);
      const batch = passages.slice(from, from + BATCH).map(({ text }) => text);
      const answer = await embed(batch, signal);
      if (answer.length !== batch.length) {
        throw new Error(`${model} gave ${answer.length} vectors for ${batch.length} texts.`);
      }
      vectors.push(...answer);
    }
    return vectors;
  }
}

interface Ranking {
  worth: Map<number, number>;
  similarity: Map<number, number>;
}

function addRank({ worth }: Ranking, index: number, rank: number): void {
  worth.set(index, (worth.get(index) ?? 0) + 1 / (RANK_CONSTANT + rank + 1));
}

/** The same file twice, in two questions perhaps, is searched once. */
function withoutDoubles(documents: readonly DocumentAttachment[]): DocumentAttachment[] {
  return [...new Map(documents.map((document) => [document.sha256, document])).values()];
}

/** Page by page, so that a citation says where. */
function wholeDocument(document: DocumentAttachment, { pages }: DocumentText): Source[] {
  return pages
    .map((text, index) => ({
      attachment: document.id,
      name: document.name,
      page: pages.length > 1 ? index + 1 : 0,
      text: text.trim(),
      score: 1,
    }))
    .filter(({ text }) => text !== "");
}

/** Best first until the budget is full. Where nothing matches, the documents' beginnings. */
function fill(candidates: readonly Candidate[], ranking: Ranking, budget: number): Source[] {
  const order = [...ranking.worth].sort(([a, x], [b, y]) => y - x || a - b).map(([index]) => index);
  const chosen = order.length > 0 ? order : beginnings(candidates);
  const sources: Source[] = [];
  let left = budget;
  for (const index of chosen.slice(0, MOST_PASSAGES)) {
    const candidate = candidates[index];
    if (candidate === undefined) {
      continue;
    }
    const source = sourceOf(candidate, ranking.similarity.get(index) ?? 0);
    const cost = costOf(source);
    if (cost <= left) {
      sources.push(source);
      left -= cost;
      continue;
    }
    const room = left - (cost - widthOf(source.text));
    if (room >= LEAST_CUT) {
      sources.push({ ...source, text: cutTo(source.text, room) });
    }
    break;
  }
  return sources;
}

/** "Summarise this" shares no word with what it means: first passages of each, then second ones. */
function beginnings(candidates: readonly Candidate[]): number[] {
  return candidates
    .map(({ number }, index) => ({ number, index }))
    .sort((a, b) => a.number - b.number || a.index - b.index)
    .map(({ index }) => index);
}

function sourceOf({ document, page, text }: Candidate, score: number): Source {
  return { attachment: document.id, name: document.name, page, text, score };
}

/** The ellipsis says that there is more. */
function cutTo(text: string, room: number): string {
  return `${text.slice(0, walk(text, 0, room - 1)).trimEnd()}…`;
}

function dot(a: Float32Array, b: Float32Array): number {
  if (a.length !== b.length) {
    throw new Error("Vectors of two models cannot be compared.");
  }
  let sum = 0;
  for (const [index, value] of a.entries()) {
    sum += value * (b[index] ?? 0);
  }
  return sum;
}
