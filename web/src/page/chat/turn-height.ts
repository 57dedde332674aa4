/**
 * About how high an answer will be that was not laid out yet, so that the scroll bar tells the truth
 * from the start and few turns have to be laid out at once when somebody scrolls up to them. Pure.
 *
 * Counted in lines of prose. What is off by a third does no harm: a turn that was seen once keeps the
 * height that it had.
 */

/** Letters of a line where the conversation has its full width, and on a phone held upright. */
export const WIDE_LINE_CHARACTERS = 90;
export const NARROW_LINE_CHARACTERS = 42;

/** Of an answer, for its height: more is some hundred screens, and is counted by its length alone. */
const MOST_COUNTED_CHARACTERS = 200_000;

/** Lines of what is set smaller or closer (code), and of the space between two blocks. */
const CODE_LINE = 0.83;
const GAP = 0.5;
/** The head and the edges of a block of code. */
const CODE_FRAME = 2.5;
/** A table's row with its padding and its edge. */
const TABLE_ROW = 1.5;

export function linesOf(text: string, lineCharacters: number): number {
  let lines = 0;
  let fence = "";
  let at = 0;
  while (at < Math.min(text.length, MOST_COUNTED_CHARACTERS)) {
    const newline = text.indexOf("\n", at);
    const next = newline < 0 ? text.length : newline;
    const start = text.slice(at, Math.min(next, at + 8)).trimStart();
    const mark = /^(?:`{3}|~{3})/.exec(start)?.[0] ?? "";
    if (fence !== "") {
      lines += mark === fence ? 0 : CODE_LINE;
      fence = mark === fence ? "" : fence;
    } else if (mark !== "") {
      fence = mark;
      lines += CODE_FRAME;
    } else if (start === "" && next - at < 8) {
      lines += GAP;
    } else if (start.startsWith("|")) {
      lines += TABLE_ROW;
    } else {
      lines += Math.ceil((next - at) / lineCharacters);
    }
    at = next + 1;
  }
  return lines + Math.max(0, text.length - at) / lineCharacters;
}
