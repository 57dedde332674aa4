/**
 * Guesses at what comes next, from what was said before (prompt lookup): where the last tokens
 * stood earlier, the same may follow again. Right in quoting, code and lists; never a risk, as the
 * model judges every guess. Pure.
 */

/** Longer matches are tried first: their guesses are better. */
const LONGEST_MATCH = 3;
/** One row is the newest token; a step has eight. */
export const MOST_GUESSES = 7;
/** So many plain tokens after drafts were found slower, they are tried once more. */
const TOKENS_BETWEEN_TRIALS = 128;
/** What the newest measurement counts for, against all before it. */
const NEWEST = 0.2;

/** At most `most` tokens that followed the last place where the text was as it is at its end. */
export function draft(tokenIds: readonly number[], most: number): number[] {
  for (let length = LONGEST_MATCH; length >= 1 && most > 0; length--) {
    const end = tokenIds.length - length;
    for (let start = end - 1; start >= 0; start--) {
      if (isSame(tokenIds, start, end, length)) {
        return tokenIds.slice(start + length, start + length + most);
      }
    }
  }
  return [];
}

function isSame(ids: readonly number[], one: number, other: number, length: number): boolean {
  for (let offset = 0; offset < length; offset++) {
    if (ids[one + offset] !== ids[other + offset]) {
      return false;
    }
  }
  return true;
}

/** Whether drafts are faster here: tokens a millisecond with them and without. */
export class DraftMeter {
  #plain: number | null = null;
  #drafted: number | null = null;
  #plainTokens = 0;

  /** Plain steps are measured first; what is slower gets another trial now and then. */
  get isWorthIt(): boolean {
    if (this.#plain === null) {
      return false;
    }
    const isFaster = this.#drafted === null || this.#drafted >= this.#plain;
    return isFaster || this.#plainTokens >= TOKENS_BETWEEN_TRIALS;
  }

  plain(tokens: number, ms: number): void {
    this.#plain = mixed(this.#plain, tokens / ms);
    this.#plainTokens += tokens;
  }

  drafted(tokens: number, ms: number): void {
    this.#drafted = mixed(this.#drafted, tokens / ms);
    this.#plainTokens = 0;
  }
}

function mixed(before: number | null, now: number): number {
  return before === null ? now : before + NEWEST * (now - before);
}
