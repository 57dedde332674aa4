/** How each kind of block is shown, as it grows. */
import type { Block } from "./blocks.ts";
import { CodeBlock, make } from "./code-block.ts";
import type { Tokens } from "./grammar.ts";
import { CHARACTERS_A_PIECE } from "./limits.ts";
import { type Answer, Prose } from "./prose.ts";
import { TableView } from "./table-view.ts";

export interface BlockView {
  readonly kind: Block["kind"];
  readonly element: HTMLElement;
  /** Show what the block says by now. */
  show(text: string, block: Block): void;
  /** A definition came: show again where the label is named. False: it is not. */
  relink?(label: string): boolean;
}

export function viewOf(kind: Block["kind"], answer: Answer): BlockView {
  switch (kind) {
    case "fence":
      return new FenceView(answer);
    case "plain":
      return new PlainView();
    case "list":
      return new ListView(answer);
    case "table":
      return new TableView(answer);
    case "text":
      return new TextView(answer);
  }
}

class TextView implements BlockView {
  readonly kind = "text";
  readonly element = make("div", "md-block");
  private readonly prose: Prose;

  constructor(answer: Answer) {
    this.prose = new Prose(this.element, answer, (tokens) => answer.writer.blocks(tokens));
  }

  show(text: string, block: Block): void {
    this.prose.show(text.slice(block.start, block.end), block.isClosed);
  }

  relink(label: string): boolean {
    return this.prose.relink(label);
  }
}

/** A list whose items are shown one by one: only the last one grows. */
class ListView implements BlockView {
  readonly kind = "list";
  readonly element = make("div", "md-block");
  private readonly answer: Answer;
  private readonly items: Prose[] = [];
  private list: HTMLElement | null = null;

  constructor(answer: Answer) {
    this.answer = answer;
  }

  show(text: string, block: Block): void {
    const list = (this.list ??= this.begin(text.slice(block.start, block.start + 16)));
    const { parts } = block;
    for (const item of this.items.splice(parts.length)) {
      item.element.remove();
    }
    for (let at = Math.max(0, this.items.length - 1); at < parts.length; at += 1) {
      const item = this.items[at] ?? this.addItem(list);
      const end = parts[at + 1] ?? block.end;
      const isLast = at === parts.length - 1;
      item.show(text.slice(parts[at], end), block.isClosed || !isLast);
    }
  }

  relink(label: string): boolean {
    return this.items.filter((item) => item.relink(label)).length > 0;
  }

  private begin(line: string): HTMLElement {
    const number = /^ {0,3}(\d{1,9})[.)]/.exec(line)?.[1];
    const list = make(number === undefined ? "ul" : "ol");
    if (number !== undefined && Number(number) !== 1) {
      list.setAttribute("start", String(Number(number)));
    }
    list.dir = "auto";
    this.element.append(list);
    return list;
  }

  private addItem(list: HTMLElement): Prose {
    const { writer } = this.answer;
    const item = new Prose(make("li"), this.answer, (tokens) =>
      tokens
        .map((token) =>
          token.type === "list"
            ? (token as Tokens.List).items.map((each) => writer.item(each)).join("")
            : writer.blocks([token], 1, ""),
        )
        .join(""),
    );
    list.append(item.element);
    this.items.push(item);
    return item;
  }
}

class FenceView implements BlockView {
  readonly kind = "fence";
  readonly element = make("div", "md-block");
  private readonly answer: Answer;
  private block: CodeBlock | null = null;
  private start = -1;
  private shown = 0;
  private isFinished = false;

  constructor(answer: Answer) {
    this.answer = answer;
  }

  show(text: string, { info, indent, inside, isClosed }: Block): void {
    // A line that was shown may have been the fence's end.
    if (this.block === null || this.start !== inside.start || inside.end < this.shown) {
      this.block = new CodeBlock(info, this.answer.labels);
      this.start = inside.start;
      this.shown = inside.start;
      this.element.replaceChildren(this.block.element);
    }
    // What an indented fence takes from its lines is known when they are whole.
    const end = indent === 0 || isClosed ? inside.end : text.lastIndexOf("\n", inside.end - 1) + 1;
    if (end > this.shown) {
      const more = text.slice(this.shown, end);
      this.block.append(indent === 0 ? more : withoutIndent(more, indent));
      this.shown = end;
    }
    if (isClosed && !this.isFinished) {
      this.isFinished = true;
      this.block.finish();
    }
  }
}

/** What is not read as markdown, in pieces, each of which is laid out once. */
class PlainView implements BlockView {
  readonly kind = "plain";
  readonly element = make("div", "md-block md-plain");
  private shown = -1;
  private piece: Text | null = null;

  show(text: string, block: Block): void {
    if (this.shown < 0) {
      this.shown = block.start;
    }
    while (this.shown < block.end) {
      const room = CHARACTERS_A_PIECE - (this.piece?.length ?? 0);
      const end = Math.min(block.end, this.shown + room);
      this.extend(text.slice(this.shown, end));
      this.shown = end;
    }
  }

  private extend(text: string): void {
    if (this.piece === null || this.piece.length >= CHARACTERS_A_PIECE) {
      const piece = make("div", "md-piece");
      piece.dir = "auto";
      this.piece = document.createTextNode(text);
      piece.append(this.piece);
      this.element.append(piece);
    } else {
      this.piece.appendData(text);
    }
  }
}

function withoutIndent(lines: string, indent: number): string {
  return lines.replace(new RegExp(`^ {1,${indent}}`, "gm"), "");
}
