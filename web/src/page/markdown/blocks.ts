/**
 * Cuts an answer, as it comes, into top-level blocks. Pure.
 *
 * A block is closed when nothing that may still come can change it. Lines are judged only when they
 * are whole, so where the cuts are depends on the text alone, never on the pieces in which it came:
 * an answer that streamed and one that is read from storage are cut alike. Each character is looked
 * at a fixed number of times.
 *
 * CommonMark's own rules close a block where ours do (0.31, section 3), but for three that would
 * keep everything open until the end: a list is loose item by item, link definitions are collected
 * beside the blocks, and raw HTML is text to us (grammar.ts).
 */
import { MOST_BLOCK_CHARACTERS, MOST_NESTING } from "./limits.ts";

export type BlockKind = "text" | "list" | "table" | "fence" | "plain";

export interface Block {
  kind: BlockKind;
  /** Where it begins and, once it is closed, ends; in characters of the answer. */
  start: number;
  end: number;
  isClosed: boolean;
  /** Where the items of a list, or the rows of a table behind its two heading lines, begin. */
  parts: number[];
  /** Of code: what stands behind the fence. */
  info: string;
  /** Of code: how far the fence is indented, which its lines may be too. */
  indent: number;
  /** Of code: where its lines begin and end. */
  inside: { start: number; end: number };
}

const FENCE = /^( {0,3})(?:(`{3,})([^`]*)|(~{3,})(.*))$/;
const HEADING = /^ {0,3}#{1,6}(?:[ \t]|$)/;
const RULE = /^ {0,3}(?:(?:-[ \t]*){3,}|(?:_[ \t]*){3,}|(?:\*[ \t]*){3,})$/;
const QUOTE = /^ {0,3}>/;
const ITEM = /^( {0,3})(?:([-*+])|(\d{1,9})([.)]))([ \t]+|$)/;
const INDENTED = /^(?: {4}| {0,3}\t)/;
const DELIMITERS = /^ {0,3}\|? *:?-+:? *(?:\| *:?-+:? *)*\|? *$/;
const NESTED = new RegExp(
  `^(?:[ \\t]*(?:>|[-*+](?=[ \\t])|\\d{1,9}[.)](?=[ \\t]))){${MOST_NESTING + 1}}`,
);

interface Item {
  /** "-", "*", "+", "." or ")": another one is another list. */
  marker: string;
  /** How far its text is indented. */
  content: number;
}

/** The state of one answer's cutting. */
export class BlockCutter {
  readonly blocks: Block[] = [];
  private text = "";
  /** Where the line begins that is not whole yet. */
  private line = 0;
  /** How far that line was searched for its end. */
  private searched = 0;
  private open: Block | null = null;
  private fence = "";
  /** What ends a formula of several lines; "": there is none. */
  private formula = "";
  private item: Item | null = null;
  private itemFence = "";
  private isAfterBlank = false;
  private lastLine = { start: 0, end: 0 };

  /** Read on: `text` begins with what was read before. */
  read(text: string): void {
    this.text = text;
    for (;;) {
      const end = text.indexOf("\n", this.searched);
      if (end < 0) {
        this.searched = text.length;
        this.watchLine();
        return;
      }
      this.judge(this.line, end);
      this.line = end + 1;
      this.searched = this.line;
    }
  }

  /** Nothing more comes: the last line is whole, the last block closed. */
  finish(): void {
    if (this.line < this.text.length) {
      this.judge(this.line, this.text.length);
      this.line = this.text.length;
    }
    this.searched = this.line;
    this.close(this.text.length);
  }

  /** Where the line begins that is not whole yet. */
  get openLine(): number {
    return this.line;
  }

  /** How many blocks are closed: they are the first ones, and stay as they are. */
  get closed(): number {
    return this.blocks.length - (this.open === null ? 0 : 1);
  }

  /** What the blocks behind the closed ones would be if the text ended at `end`, in the line that is not whole. */
  provisional(end: number): Block[] {
    const cutter = new BlockCutter();
    const open =
      this.open === null
        ? null
        : { ...this.open, parts: [...this.open.parts], inside: { ...this.open.inside } };
    Object.assign(cutter, this, { blocks: open === null ? [] : [open], open });
    if (end > this.line) {
      cutter.judge(this.line, end);
    }
    for (const block of cutter.blocks) {
      if (!block.isClosed) {
        block.end = end;
      }
      if (block.kind === "fence" && block.inside.end < 0) {
        block.inside.end = end;
      }
    }
    return cutter.blocks;
  }

  private judge(start: number, end: number): void {
    const last = this.lastLine;
    this.lastLine = { start, end };
    const line = this.text.slice(start, end).replace(/\r$/, "");
    if (this.open?.kind === "fence") {
      this.judgeCode(line, start, end);
      return;
    }
    if (this.open?.kind === "plain") {
      // What was too long to be read ends with its line, what was too deep with its paragraph.
      if (line.trim() === "" || end - this.open.start > MOST_BLOCK_CHARACTERS) {
        this.close(end + 1);
      }
      return;
    }
    if (end - start > MOST_BLOCK_CHARACTERS) {
      this.close(start);
      this.begin("plain", start);
      this.close(end + 1);
      return;
    }
    if (line.trim() === "") {
      this.judgeBlank(start);
      return;
    }
    const isAfterBlank = this.isAfterBlank;
    this.isAfterBlank = false;
    if (NESTED.test(line)) {
      this.close(start);
      this.begin("plain", start);
      return;
    }
    if (this.open?.kind === "list" && this.continuesList(line, start, isAfterBlank)) {
      this.watchLength(end);
      return;
    }
    if (this.open?.kind === "table") {
      if (!interruptsTable(line)) {
        this.open.parts.push(start);
        return;
      }
      this.close(start);
    }
    if (this.open?.kind === "list" || (this.open !== null && isAfterBlank)) {
      // Only indented code goes on behind a blank line.
      if (!(this.open.kind === "text" && this.isIndentedCode(this.open) && INDENTED.test(line))) {
        this.close(start);
      }
    }
    this.judgeText(line, start, end, last);
    this.watchLength(end);
  }

  private judgeText(line: string, start: number, end: number, last: { start: number }): void {
    if (this.formula !== "") {
      if (line.includes(this.formula)) {
        this.formula = "";
      }
      return;
    }
    const fence = FENCE.exec(line);
    if (fence !== null) {
      this.close(start);
      const open = this.begin("fence", start);
      this.fence = fence[2] ?? fence[4] ?? "";
      open.info = (fence[3] ?? fence[5] ?? "").trim();
      open.indent = fence[1]?.length ?? 0;
      open.inside = { start: end + 1, end: -1 };
      return;
    }
    if (HEADING.test(line)) {
      this.close(start);
      this.begin("text", start);
      this.close(end + 1);
      return;
    }
    const item = RULE.test(line) ? null : readItem(line);
    if (item !== null && (this.open === null || item.interrupts)) {
      this.close(start);
      this.begin("list", start).parts.push(start);
      this.item = item;
      this.itemFence = "";
      return;
    }
    if (this.open?.kind === "text" && this.isTableHead(last.start, start, line)) {
      const head = last.start;
      if (head > this.open.start) {
        this.close(head);
        this.begin("table", head);
      } else {
        this.open.kind = "table";
      }
      return;
    }
    if (this.open === null) {
      this.begin("text", start);
    }
    this.formula = opensFormula(line);
  }

  private judgeCode(line: string, start: number, end: number): void {
    const open = this.open;
    const closing = /^ {0,3}(`{3,}|~{3,})[ \t]*$/.exec(line)?.[1];
    if (open !== null && closing?.startsWith(this.fence) === true) {
      open.inside.end = start;
      this.close(end + 1);
    }
  }

  private judgeBlank(start: number): void {
    this.formula = "";
    this.isAfterBlank = true;
    const open = this.open;
    if (open === null || open.kind === "list") {
      return;
    }
    if (open.kind === "text" && this.isIndentedCode(open)) {
      return;
    }
    this.close(start);
  }

  /** True: the line belongs to the open list, and was noted. */
  private continuesList(line: string, start: number, isAfterBlank: boolean): boolean {
    const { open, item } = this;
    if (open === null || item === null) {
      return false;
    }
    const indent = indentOf(line);
    if (indent >= item.content) {
      this.noteItemFence(line);
      return true;
    }
    const next = RULE.test(line) ? null : readItem(line);
    if (next !== null) {
      if (next.marker !== item.marker) {
        return false;
      }
      open.parts.push(start);
      this.item = next;
      this.itemFence = "";
      return true;
    }
    if (isAfterBlank || this.itemFence !== "") {
      return false;
    }
    // A paragraph goes on without being indented ("lazy continuation").
    return !(FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line));
  }

  private noteItemFence(line: string): void {
    const fence = /^\s*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+)?(`{3,}|~{3,})/.exec(line)?.[1];
    if (fence === undefined) {
      return;
    }
    if (this.itemFence === "") {
      this.itemFence = fence;
    } else if (fence.startsWith(this.itemFence)) {
      this.itemFence = "";
    }
  }

  private isIndentedCode(block: Block): boolean {
    return INDENTED.test(this.text.slice(block.start, block.start + 4));
  }

  private isTableHead(head: number, start: number, delimiters: string): boolean {
    if (!DELIMITERS.test(delimiters) || !/[|:]/.test(delimiters)) {
      return false;
    }
    const line = this.text.slice(head, start - 1).replace(/\r$/, "");
    return !QUOTE.test(line) && !INDENTED.test(line) && cellsOf(line) === cellsOf(delimiters);
  }

  /** What grows beyond what is read as markdown is shown as it was written, from its last part on. */
  private watchLength(end: number): void {
    const open = this.open;
    if (open === null) {
      return;
    }
    const from = open.parts.at(-1) ?? open.start;
    if (open.kind === "fence" || open.kind === "plain" || end - from <= MOST_BLOCK_CHARACTERS) {
      return;
    }
    if (from > open.start) {
      open.parts.pop();
      this.close(from);
      this.begin("plain", from);
    } else {
      open.kind = "plain";
      open.parts = [];
    }
    this.formula = "";
    this.item = null;
  }

  /** A line that is too long already is, however it goes on. */
  private watchLine(): void {
    const length = this.text.length - this.line;
    if (
      length > MOST_BLOCK_CHARACTERS &&
      this.open?.kind !== "fence" &&
      this.open?.kind !== "plain"
    ) {
      this.close(this.line);
      this.begin("plain", this.line);
    }
  }

  private begin(kind: BlockKind, start: number): Block {
    this.open = {
      kind,
      start,
      end: -1,
      isClosed: false,
      parts: [],
      info: "",
      indent: 0,
      inside: { start, end: -1 },
    };
    this.formula = "";
    this.blocks.push(this.open);
    return this.open;
  }

  private close(end: number): void {
    const open = this.open;
    if (open !== null) {
      open.end = Math.min(end, this.text.length);
      open.isClosed = true;
      if (open.kind === "fence" && open.inside.end < 0) {
        open.inside.end = open.end;
      }
    }
    this.open = null;
    this.item = null;
    this.formula = "";
    this.isAfterBlank = false;
  }
}

/** Columns before the first character that is not white; a tab goes to the next multiple of four. */
function indentOf(line: string): number {
  let columns = 0;
  for (const character of line) {
    if (character === " ") {
      columns += 1;
    } else if (character === "\t") {
      columns += 4 - (columns % 4);
    } else {
      break;
    }
  }
  return columns;
}

function readItem(line: string): (Item & { interrupts: boolean }) | null {
  const match = ITEM.exec(line);
  if (match === null) {
    return null;
  }
  const [all, indent = "", bullet, number, dot, space = ""] = match;
  const width = all.length - space.length;
  const isEmpty = line.length === all.length;
  // More than four spaces are one, and code that is indented (CommonMark 5.2, rule 2).
  const gap = isEmpty || indentOf(space) > 4 ? 1 : space.length;
  return {
    marker: bullet ?? dot ?? "",
    content: Math.max(width + gap, indent.length + 2),
    interrupts: !isEmpty && (number === undefined || number === "1"),
  };
}

function interruptsTable(line: string): boolean {
  return (
    HEADING.test(line) ||
    QUOTE.test(line) ||
    FENCE.test(line) ||
    RULE.test(line) ||
    INDENTED.test(line) ||
    readItem(line) !== null
  );
}

/** "$$" or "\]" where the line begins a formula that it does not end. */
function opensFormula(line: string): string {
  const opening = /^ {0,3}(\$\$|\\\[)/.exec(line)?.[1];
  if (opening === undefined) {
    return "";
  }
  const closing = opening === "$$" ? "$$" : "\\]";
  return line.includes(closing, line.indexOf(opening) + 2) ? "" : closing;
}

/** As GFM counts them: pipes that are not escaped, less those at the edges. */
export function cellsOf(line: string): number {
  const inside = line
    .trim()
    .replace(/^\|/, "")
    .replace(/(?<!\\)\|$/, "");
  let cells = 1;
  for (let at = inside.indexOf("|"); at >= 0; at = inside.indexOf("|", at + 1)) {
    if (inside[at - 1] !== "\\") {
      cells += 1;
    }
  }
  return cells;
}
