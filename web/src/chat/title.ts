/** What a conversation is called until somebody says otherwise. */

/** What fits into one line of the list. */
export const TITLE_CHARACTERS = 60;

/** Nobody reads the rest, and it need not be cut into words. */
const READ_CHARACTERS = 1000;

/** The first words of a first question, at most 60 characters, cut between two words; "" for none. */
export function titleOf(text: string): string {
  const line = oneLine(text.slice(0, READ_CHARACTERS));
  if (line.length <= TITLE_CHARACTERS) {
    return line;
  }
  const most = TITLE_CHARACTERS - "…".length;
  let end = 0;
  // Not every script parts its words by spaces.
  for (const { index, segment } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(
    line,
  )) {
    if (index + segment.length > most) {
      break;
    }
    end = index + segment.length;
  }
  // One endless word: cut it, but no character in two.
  return `${line.slice(0, end).trimEnd() || wholeCharacters(line, most)}…`;
}

/** White space becomes one space, and what only changes how other text looks is left out. */
export function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\s]+/gu, " ")
    .replace(/[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, "")
    .trim();
}

function wholeCharacters(line: string, most: number): string {
  let cut = "";
  for (const { segment } of new Intl.Segmenter().segment(line)) {
    if (cut.length + segment.length > most) {
      break;
    }
    cut += segment;
  }
  return cut;
}
