/** What is read aloud of an answer, in which language, and in what pieces. Pure. */

/**
 * Chromium falls silent about fifteen seconds into an utterance of its network voices and, on some
 * systems, of its own (crbug.com/679437); a piece of this many characters takes less at any rate that is
 * set.
 */
export const PIECE_CHARACTERS = 180;

/** Code and formulas are looked at, not listened to. */
export function spokenText(markdown: string): string {
  return markdown
    .replace(/^(`{3,}|~{3,}).*?(?:^\1[`~]*\s*$|$(?![\s\S]))/gms, "\n")
    .replace(/\$\$[\s\S]*?\$\$|\\\[[\s\S]*?\\\]/g, "\n")
    .replace(/!\[[^\]]*\]\([^)]*\)/g, "")
    .replace(/\[([^\]]+)\]\([^)]*\)/g, "$1")
    .replace(/\s?\[\d{1,3}(?:\s*[,،]\s*\d{1,3})*\]/g, "")
    .replace(/^\s*\|?(?:\s*:?-{3,}:?\s*\|?)+\s*$/gm, "")
    .replace(/^\s*(?:#{1,6}|>|[-*+]|\d+[.)])\s+/gm, "")
    .replace(/(\*\*|__|~~|`+)(.*?)\1/g, "$2")
    .replace(/(^|\W)[*_](\S.*?)[*_](?=\W|$)/g, "$1$2")
    .replace(/\|/g, ", ")
    .replace(/<[^>]{1,200}>/g, "")
    .replace(/[ \t]+/g, " ")
    .replace(/\n\s*\n+/g, "\n")
    .trim();
}

/** Sentences, and of those that are too long their halves, so that no piece is. */
export function piecesOf(text: string, language: string): string[] {
  const pieces: string[] = [];
  for (const sentence of sentencesOf(text, language)) {
    const last = pieces.at(-1);
    // Short ones go together: a pause between utterances is longer than one between sentences.
    if (last !== undefined && last.length + sentence.length < PIECE_CHARACTERS) {
      pieces[pieces.length - 1] = `${last} ${sentence}`;
    } else {
      pieces.push(...shortened(sentence));
    }
  }
  return pieces;
}

function sentencesOf(text: string, language: string): string[] {
  const lines = text.split("\n");
  const parts =
    typeof Intl.Segmenter === "function"
      ? lines.flatMap((line) =>
          Array.from(
            new Intl.Segmenter(language, { granularity: "sentence" }).segment(line),
            ({ segment }) => segment,
          ),
        )
      : lines.flatMap((line) => line.split(/(?<=[.!?…。！？؟])\s+/));
  return parts.map((part) => part.trim()).filter((part) => /[\p{L}\p{N}]/u.test(part));
}

function shortened(sentence: string): string[] {
  const pieces: string[] = [];
  let rest = sentence;
  while (rest.length > PIECE_CHARACTERS) {
    const head = rest.slice(0, PIECE_CHARACTERS);
    const clause = Math.max(
      ...[", ", "; ", ": ", "، ", "，", "、", " – "].map((end) => head.lastIndexOf(end)),
    );
    const word = head.lastIndexOf(" ");
    const end =
      clause > PIECE_CHARACTERS / 3 ? clause + 1 : word > 0 ? word : wholeCharacters(head);
    pieces.push(rest.slice(0, end).trim());
    rest = rest.slice(end).trim();
  }
  return rest === "" ? pieces : [...pieces, rest];
}

function wholeCharacters(head: string): number {
  return /[\ud800-\udbff]$/.test(head) ? head.length - 1 : head.length;
}

/** Scripts that tell a language, or nearly so. */
const SCRIPTS: readonly [RegExp, string][] = [
  [/[\p{Script=Hiragana}\p{Script=Katakana}]/gu, "ja"],
  [/\p{Script=Hangul}/gu, "ko"],
  [/\p{Script=Han}/gu, "zh"],
  [/\p{Script=Arabic}/gu, "ar"],
  [/\p{Script=Hebrew}/gu, "he"],
  [/\p{Script=Cyrillic}/gu, "ru"],
  [/\p{Script=Greek}/gu, "el"],
  [/\p{Script=Devanagari}/gu, "hi"],
  [/\p{Script=Thai}/gu, "th"],
];
/** Words that stand in nearly every text of a language and in few others. */
const SMALL_WORDS: readonly [string, RegExp][] = [
  ["en", /\b(?:the|and|is|are|of|to|that|with|you|it)\b/gi],
  ["de", /\b(?:der|die|und|ist|nicht|das|ein|eine|mit|für|sie)\b/gi],
  ["fr", /\b(?:le|les|et|est|une|des|dans|pour|que|vous)\b/gi],
  ["es", /\b(?:el|los|y|es|una|que|para|por|con|está)\b/gi],
];
const SAMPLE_CHARACTERS = 2_000;

/** The language that most of the text is in; the page's where nothing tells. */
export function languageOf(text: string, pageLanguage: string): string {
  const sample = text.slice(0, SAMPLE_CHARACTERS);
  const letters = sample.match(/\p{L}/gu)?.length ?? 0;
  for (const [script, language] of SCRIPTS) {
    const share = (sample.match(script)?.length ?? 0) / Math.max(1, letters);
    // Japanese is mostly ideographs between its kana.
    if (share > (language === "ja" ? 0.15 : 0.5)) {
      return language;
    }
  }
  const counts = SMALL_WORDS.map(([language, pattern]) => ({
    language,
    count: sample.match(pattern)?.length ?? 0,
  })).sort((a, b) => b.count - a.count);
  const [first, second] = counts;
  const isClear =
    first !== undefined && first.count > 1 && first.count > (second?.count ?? 0) * 1.5;
  return isClear ? first.language : pageLanguage;
}
