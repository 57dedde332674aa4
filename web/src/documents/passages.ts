/**
 * Documents cut into passages: what is searched, shown and cited. Pure.
 *
 * A passage ends where a paragraph, a line, a sentence or at least a word does, and begins a little
 * before the end of the one before, so that no thought is only found in halves. It lies on one page,
 * whose number is then true.
 */
import { walk, walkBack } from "./text-width.ts";
import type { DocumentText } from "./types.ts";

export interface Passage {
  /** 1 is the first; 0 where the document has none. */
  page: number;
  text: string;
}

/**
 * Width (`text-width.ts`) of a passage at most. That is about 250 tokens: all-MiniLM reads 256 and cuts
 * off the rest, and a small model's context of 4,096 takes a dozen of them beside the
 * conversation.
 */
export const PASSAGE_WIDTH = 1_000;
/** Some two sentences. */
export const OVERLAP_WIDTH = 150;
/** What is shorter is not worth an end of its own. */
const LEAST_WIDTH = PASSAGE_WIDTH / 2;

/** Changes when texts are cut in another way: vectors that were kept are of other passages then. */
export const CUT_REVISION = 1;

/** Best first: where a passage may end. Each matches up to and including its end. */
const ENDS: readonly RegExp[] = [
  /\n\s*\n/g,
  /(?:[.!?…؟۔]["'”’»)\]]*\s|[。！？]["'」』）]?)/g,
  /\n/g,
  /[\s،؛;,、，]/g,
];

export function cutPassages(document: DocumentText): Passage[] {
  const isPaged = document.pages.length > 1;
  return document.pages.flatMap((page, index) =>
    cutText(page).map((text) => ({ page: isPaged ? index + 1 : 0, text })),
  );
}

function cutText(text: string): string[] {
  const passages: string[] = [];
  let start = skipSpace(text, 0);
  while (start < text.length) {
    const end = endOf(text, start);
    passages.push(text.slice(start, end).trimEnd());
    if (end >= text.length) {
      break;
    }
    start = Math.max(skipSpace(text, overlapStart(text, start, end)), start + 1);
  }
  return passages;
}

/** Where the passage that begins at `start` ends. */
function endOf(text: string, start: number): number {
  const furthest = walk(text, start, PASSAGE_WIDTH);
  if (furthest >= text.length || text.slice(furthest).trim() === "") {
    return text.length;
  }
  const least = walk(text, start, LEAST_WIDTH);
  for (const pattern of ENDS) {
    const last = lastEnd(text, pattern, least, furthest);
    if (last !== null) {
      return last;
    }
  }
  return furthest;
}

/** The last end in (from, to]. */
function lastEnd(text: string, pattern: RegExp, from: number, to: number): number | null {
  let last: number | null = null;
  for (const match of text.slice(from, to).matchAll(pattern)) {
    last = from + match.index + match[0].length;
  }
  return last;
}

/** The first beginning of a sentence, else of a word, in the last part of the passage. */
function overlapStart(text: string, start: number, end: number): number {
  const earliest = Math.max(start + 1, walkBack(text, end, OVERLAP_WIDTH));
  for (const pattern of ENDS) {
    const [match] = text.slice(earliest, end).matchAll(pattern);
    const found = match === undefined ? end : earliest + match.index + match[0].length;
    if (found < end) {
      return found;
    }
  }
  return end;
}

function skipSpace(text: string, at: number): number {
  let from = at;
  while (from < text.length && /\s/.test(text.charAt(from))) {
    from += 1;
  }
  return from;
}
