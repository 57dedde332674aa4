/**
 * Which passages share words with a question: BM25, for when there is no embedding model, and beside
 * one for names and numbers, which vectors blur. Pure.
 *
 * Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), with the
 * inverse document frequency that is never negative.
 */

/** How soon a word's repetitions stop counting, and how much long passages are held back: the usual. */
const K1 = 1.2;
const B = 0.75;

/** Scripts that are written without spaces, or whose words carry their articles and endings. */
const BIGRAM_SCRIPTS =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Hangul}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}\p{Script=Arabic}]/u;
const WORD = /[\p{L}\p{N}\p{M}]+/gu;
/** Long words are compounds in German, and inflected in many languages; their parts are found too. */
const LONG_WORD = 7;
const PART = 4;

/**
 * Words of a text, folded: "Größe" and "GRÖSSE" are one. Scripts without spaces give pairs of
 * neighbouring characters; so does Arabic, whose words grow at both ends. Long words give their
 * stretches of four letters besides, so that "Kündigung" finds "Kündigungsfrist".
 */
export function termsOf(text: string): string[] {
  const terms: string[] = [];
  for (const [word] of fold(text).matchAll(WORD)) {
    if (BIGRAM_SCRIPTS.test(word)) {
      terms.push(...stretches(word, 2));
    } else {
      terms.push(word);
      if (word.length >= LONG_WORD) {
        terms.push(...stretches(word, PART).map((part) => `~${part}`));
      }
    }
  }
  return terms;
}

/** Without case, accents, vowel signs and the Arabic letters' variants that people mix. */
function fold(text: string): string {
  return text
    .normalize("NFKD")
    .replace(/[\p{M}\u0640]/gu, "")
    .toLowerCase()
    .replace(/ß/g, "ss")
    .replace(/[أإآٱ]/g, "ا")
    .replace(/ى/g, "ي")
    .replace(/ة/g, "ه")
    .normalize("NFC");
}

function stretches(word: string, length: number): string[] {
  const characters = Array.from(word);
  if (characters.length <= length) {
    return [word];
  }
  return characters
    .slice(0, characters.length - length + 1)
    .map((_, index) => characters.slice(index, index + length).join(""));
}

export interface WordMatch {
  /** Which of the texts. */
  index: number;
  /** Above 0; comparable within one search only. */
  score: number;
  /** How much of the question's words is in the text, by their weight: 0 to 1. */
  coverage: number;
}

interface Posting {
  index: number;
  count: number;
}

/** The texts that share words with a question, made once for many questions. */
export class WordIndex {
  readonly #postings = new Map<string, Posting[]>();
  readonly #lengths: number[] = [];
  readonly #averageLength: number;

  constructor(texts: readonly string[]) {
    for (const [index, text] of texts.entries()) {
      const terms = termsOf(text);
      this.#lengths.push(terms.length);
      const counts = new Map<string, number>();
      for (const term of terms) {
        counts.set(term, (counts.get(term) ?? 0) + 1);
      }
      for (const [term, count] of counts) {
        const postings = this.#postings.get(term);
        if (postings === undefined) {
          this.#postings.set(term, [{ index, count }]);
        } else {
          postings.push({ index, count });
        }
      }
    }
    const sum = this.#lengths.reduce((total, length) => total + length, 0);
    this.#averageLength = Math.max(1, sum / Math.max(1, texts.length));
  }

  /** Best first; texts that share nothing with the question are not among them. */
  search(question: string): WordMatch[] {
    const scores = new Map<number, { score: number; weight: number }>();
    let whole = 0;
    for (const term of new Set(termsOf(question))) {
      const postings = this.#postings.get(term) ?? [];
      const weight = this.#weightOf(postings.length);
      whole += weight;
      for (const { index, count } of postings) {
        const length = (this.#lengths[index] ?? 0) / this.#averageLength;
        const often = (count * (K1 + 1)) / (count + K1 * (1 - B + B * length));
        const sofar = scores.get(index) ?? { score: 0, weight: 0 };
        scores.set(index, {
          score: sofar.score + weight * often,
          weight: sofar.weight + weight,
        });
      }
    }
    return [...scores]
      .map(([index, { score, weight }]) => ({ index, score, coverage: weight / whole }))
      .sort((a, b) => b.score - a.score || a.index - b.index);
  }

  #weightOf(holders: number): number {
    return Math.log(1 + (this.#lengths.length - holders + 0.5) / (holders + 0.5));
  }
}
