/**
 * What to show of markdown that is still being written. Pure.
 *
 * Closes what is open and holds back what says nothing yet, so that a word that will be bold is bold
 * from its first letter, and no mark is seen that will vanish. Only while an answer streams: its end
 * is shown as it is.
 */
import { cellsOf } from "./blocks.ts";

/** A last line of nothing but marks: a rule, a fence, a heading, an item, none of them yet. */
const MARKS = /^[ \t]*(?:>[ \t]*)*(?:[-=+*_#`~|:.<[\]!\\$ \t]*|\d{1,3}[.)]?)$/;

/** Where to end for now: before the last line where that is nothing but marks. `line` is where it begins. */
export function shownEnd(text: string, line: number): number {
  return text.length - line < 200 && MARKS.test(text.slice(line)) && line < text.length
    ? line
    : text.length;
}

/** The open block's source with its end made whole. */
export function closeProvisionally(source: string): string {
  if (isInFence(source)) {
    return source;
  }
  return closeTable(closeInline(source));
}

/** Of what follows a cut: this much may still change how what stands before it is read. */
const UNSETTLED_BEHIND = 120;
/** Places that are tried, each this many characters before the one that was tried last. */
const MOST_CUTS = 8;
const BETWEEN_CUTS = 40;

/**
 * Where a paragraph that still grows can be cut into two that read as one: at a space between words
 * with no mark open before it. 0: nowhere.
 */
export function settledEnd(paragraph: string): number {
  let from = paragraph.length - UNSETTLED_BEHIND;
  for (let tries = 0; tries < MOST_CUTS && from > 0; tries += 1) {
    const space = paragraph.lastIndexOf(" ", from);
    if (space <= 0) {
      return 0;
    }
    // A letter begins no list, heading, quote, table or code.
    if (
      /\S/.test(paragraph[space - 1] ?? " ") &&
      /\p{L}/u.test(paragraph[space + 1] ?? "") &&
      new OpenMarks(paragraph.slice(0, space)).isSettled
    ) {
      return space;
    }
    from = space - BETWEEN_CUTS;
  }
  return 0;
}

function isInFence(source: string): boolean {
  let open = "";
  for (const [, fence = ""] of source.matchAll(
    /^[ \t>]*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+)?(`{3,}|~{3,})/gm,
  )) {
    if (open === "") {
      open = fence;
    } else if (fence.startsWith(open)) {
      open = "";
    }
  }
  return open !== "";
}

/** The first line of a table is one before its second line says so. */
function closeTable(source: string): string {
  const match = /^ {0,3}\|[^\n]*\|?[^\n]*(?:\n[|:\- ]*)?$/.exec(source);
  const [head = "", delimiters] = source.split("\n");
  if (
    match === null ||
    (delimiters !== undefined && cellsOf(delimiters) === cellsOf(head) && delimiters.includes("-"))
  ) {
    return source;
  }
  return `${head}\n${"|---".repeat(cellsOf(head))}|`;
}

/** Behind the last empty line: marks do not reach over one. */
function closeInline(source: string): string {
  const gap = source.lastIndexOf("\n\n");
  const from = gap < 0 ? 0 : gap + 2;
  const head = source.slice(0, from);
  const open = new OpenMarks(source.slice(from));
  return head + open.closed();
}

interface Mark {
  at: number;
  text: string;
}

class OpenMarks {
  private readonly text: string;
  private readonly marks: Mark[] = [];
  /** Where "[" of a link stands that has no end yet, and where its address begins. */
  private bracket = -1;
  private address = -1;
  private code: Mark | null = null;
  private formula: Mark | null = null;

  constructor(text: string) {
    this.text = text;
    this.scan();
  }

  /** Nothing that comes behind a space can close something that stands here. */
  get isSettled(): boolean {
    return (
      this.marks.length === 0 && this.bracket < 0 && this.code === null && this.formula === null
    );
  }

  closed(): string {
    const { text, code, formula } = this;
    if (code !== null) {
      const inside = text.slice(code.at + code.text.length);
      const before = text.slice(0, code.at);
      return inside.trim() === ""
        ? this.behind(before.trimEnd())
        : this.behind(`${before}${code.text}${inside.replace(/`+$/, "")}${code.text}`);
    }
    if (formula !== null) {
      return this.behind(text);
    }
    if (this.bracket >= 0) {
      const isImage = text[this.bracket - 1] === "!";
      const before = text.slice(0, this.bracket - (isImage ? 1 : 0));
      const end = this.address < 0 ? text.length : this.address - 1;
      return this.behind(isImage ? before : before + text.slice(this.bracket + 1, end));
    }
    return this.behind(text.replace(/(?:\\|&#?\w{0,12}|!)$/, ""));
  }

  /** The text with all open marks closed, the last one first; one with nothing behind it goes. */
  private behind(text: string): string {
    let shown = text;
    for (const [index, { at, text: mark }] of this.marks.toReversed().entries()) {
      const end = shown.trimEnd();
      if (end.length <= at + mark.length) {
        shown = shown.slice(0, at);
      } else {
        // Half of "**" may be here already.
        shown = (index === 0 ? trimHalf(end, mark) : end) + mark;
      }
    }
    return shown;
  }

  private scan(): void {
    const { text } = this;
    let at = 0;
    while (at < text.length) {
      at = this.step(at);
    }
  }

  private step(at: number): number {
    const { text } = this;
    switch (text[at]) {
      case "\\":
        return this.skipFormula(
          at,
          text[at + 1] === "(" ? "\\)" : text[at + 1] === "[" ? "\\]" : "",
        );
      case "$":
        return text[at + 1] === "$" ? this.skipFormula(at, "$$") : at + 1;
      case "`":
        return this.skipCode(at);
      case "[":
        if (this.bracket < 0 && (at === 0 || /[\s(*_!"'—–>|-]/.test(text[at - 1] ?? ""))) {
          this.bracket = at;
        }
        return at + 1;
      case "]":
        return this.endBracket(at);
      case "*":
      case "_":
      case "~":
        return this.judgeMark(at);
      case undefined:
      default:
        return at + 1;
    }
  }

  private skipFormula(at: number, closing: string): number {
    if (closing === "") {
      return at + 2;
    }
    const end = this.text.indexOf(closing, at + 2);
    if (end < 0) {
      this.formula = { at, text: closing };
      return this.text.length;
    }
    return end + 2;
  }

  private skipCode(at: number): number {
    const run = /^`+/.exec(this.text.slice(at, at + 32))?.[0] ?? "`";
    let end = this.text.indexOf(run, at + run.length);
    while (end >= 0 && this.text[end + run.length] === "`") {
      end = this.text.indexOf(run, end + run.length + 1);
    }
    if (end < 0) {
      this.code = { at, text: run };
      return this.text.length;
    }
    return end + run.length;
  }

  private endBracket(at: number): number {
    if (this.bracket < 0) {
      return at + 1;
    }
    if (this.text[at + 1] !== "(") {
      // At the very end it may still become a link.
      this.bracket = at + 1 === this.text.length && at - this.bracket > 4 ? this.bracket : -1;
      this.address = this.bracket < 0 ? -1 : at + 1;
      return at + 1;
    }
    const end = /^\((?:[^()\n]|\([^()\n]*\))*\)/.exec(this.text.slice(at + 1));
    if (end === null) {
      this.address = at + 1;
      return this.text.length;
    }
    this.bracket = -1;
    return at + 1 + end[0].length;
  }

  private judgeMark(at: number): number {
    const { text, marks } = this;
    const character = text[at] ?? "";
    let end = at + 1;
    while (text[end] === character) {
      end += 1;
    }
    const before = text[at - 1] ?? " ";
    const after = text[end] ?? " ";
    const run = end - at;
    if (character === "~" && run !== 2) {
      return end;
    }
    if (character === "_" && /[\p{L}\p{N}]/u.test(before) && /[\p{L}\p{N}]/u.test(after)) {
      return end;
    }
    let left = run;
    while (left > 0 && /\S/.test(before)) {
      const open = marks.findLastIndex(
        (mark) => mark.text.startsWith(character) && mark.text.length <= left,
      );
      if (open < 0) {
        break;
      }
      left -= marks[open]?.text.length ?? 0;
      marks.length = open;
    }
    const opens = /\S/.test(after) || end === text.length;
    const isWord = /[\p{L}\p{N}]/u.test(before);
    if (
      left > 0 &&
      opens &&
      !(character === "_" && isWord) &&
      !(end === text.length && /\S/.test(before) && before !== "(")
    ) {
      if (left >= 2) {
        marks.push({ at: end - left, text: character.repeat(2) });
      }
      if (left % 2 === 1) {
        marks.push({ at: end - 1, text: character });
      }
    }
    return end;
  }
}

function trimHalf(text: string, mark: string): string {
  const [character = ""] = mark;
  return mark.length === 2 && text.endsWith(character) && !text.endsWith(mark)
    ? text.slice(0, -1)
    : text;
}
