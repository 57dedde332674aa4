/**
 * What is read as markdown and shown as a whole: a paragraph, a quote, an item of a list.
 *
 * While it grows it is read anew with each piece. Of a long paragraph what nothing can change any more
 * is settled: read once, and only what comes behind it is read again. Its end reads it whole.
 */
import { make } from "./code-block.ts";
import { type Furniture, furnish } from "./furnish.ts";
import { type Definitions, type Token, hasTooManyMarks, readBlock } from "./grammar.ts";
import { closeProvisionally, settledEnd } from "./half-open.ts";
import type { HtmlWriter } from "./html.ts";
import { GROWTH, MOST_CHARACTERS_A_FRAME, MOST_UNSETTLED_CHARACTERS } from "./limits.ts";
import { patchChildren } from "./patch.ts";
import { sanitizeMarkdown } from "./sanitize.ts";

/** What the blocks of one answer share. */
export interface Answer extends Furniture {
  writer: HtmlWriter;
  /** Of the closed blocks so far. */
  definitions: Definitions;
}

export class Prose {
  readonly element: HTMLElement;
  private readonly answer: Answer;
  private readonly write: (tokens: Token[]) => string;
  private source = "";
  /** What of the source the markup is of. */
  private marked = "";
  /** The beginning of a paragraph that is read no more while it grows, and the last node of it. */
  private settled = "";
  private settledNode: Node | null = null;
  private isClosed = false;
  private tail: Text | null = null;

  constructor(element: HTMLElement, answer: Answer, write: (tokens: Token[]) => string) {
    this.element = element;
    this.answer = answer;
    this.write = write;
  }

  show(source: string, isClosed: boolean): void {
    if (source === this.source && isClosed === this.isClosed) {
      return;
    }
    this.source = source;
    this.isClosed = isClosed;
    if (isClosed || !this.growsLittle()) {
      this.mark();
    }
  }

  relink(label: string): boolean {
    const isNamed = this.isClosed && this.source.toLowerCase().includes(`[${label}]`);
    if (isNamed) {
      this.mark();
    }
    return isNamed;
  }

  /** True: the source is long and only a little longer than what is marked up; the rest is shown as it is. */
  private growsLittle(): boolean {
    const { source, marked, settled } = this;
    const read = marked.length - settled.length;
    if (
      read < MOST_CHARACTERS_A_FRAME ||
      source.length - settled.length > read * (1 + GROWTH) ||
      !source.startsWith(marked)
    ) {
      return false;
    }
    const rest = source.slice(marked.length);
    if (this.tail === null) {
      this.tail = document.createTextNode(rest);
      lastBlock(this.element).append(this.tail);
    } else if (rest.startsWith(this.tail.data)) {
      this.tail.appendData(rest.slice(this.tail.data.length));
    } else {
      this.tail.data = rest;
    }
    return true;
  }

  private mark(): void {
    const { source, isClosed } = this;
    this.tail?.remove();
    this.tail = null;
    this.marked = source;
    if (hasTooManyMarks(source)) {
      this.showPlain();
      return;
    }
    if (isClosed || !source.startsWith(this.settled)) {
      this.unsettle();
    }
    try {
      if (isClosed || !this.markRest()) {
        patchChildren(this.element, this.read(source));
      }
    } catch (error) {
      if (!(error instanceof RangeError)) {
        throw error;
      }
      // Nested beyond this browser's stack.
      this.showPlain();
    }
  }

  /** Read what is not settled. False: this is no long paragraph, and nothing is settled. */
  private markRest(): boolean {
    let rest = this.source.slice(this.settled.length);
    const paragraph = this.onlyParagraph(this.element);
    if (paragraph === null || this.source.length <= MOST_UNSETTLED_CHARACTERS) {
      this.unsettle();
      return false;
    }
    while (rest.length > MOST_UNSETTLED_CHARACTERS) {
      const end = settledEnd(rest);
      const wanted = end === 0 ? null : this.onlyParagraph(this.read(rest.slice(0, end)));
      if (wanted === null) {
        break;
      }
      patchChildren(paragraph, wanted, this.settledNode);
      // The space at which it was cut.
      this.settledNode = document.createTextNode(" ");
      paragraph.append(this.settledNode);
      this.settled += rest.slice(0, end + 1);
      rest = rest.slice(end + 1);
    }
    const wanted = this.settledNode === null ? null : this.onlyParagraph(this.read(rest));
    if (wanted === null) {
      this.unsettle();
      return false;
    }
    patchChildren(paragraph, wanted, this.settledNode);
    return true;
  }

  /** All of it is read again the next time; its nodes are as if it had always been. */
  private unsettle(): void {
    if (this.settledNode !== null) {
      this.settledNode = null;
      this.settled = "";
      this.element.normalize();
    }
  }

  private onlyParagraph(within: ParentNode): Element | null {
    const first = within.firstElementChild;
    return first?.nodeName === "P" && first === within.lastElementChild ? first : null;
  }

  private read(source: string): DocumentFragment {
    const { answer, isClosed } = this;
    const read = readBlock(isClosed ? source : closeProvisionally(source), {
      definitions: answer.definitions,
      sources: answer.sources.length,
    });
    if (isClosed) {
      answer.definitions = read.definitions;
    }
    const fragment = sanitizeMarkdown(this.write(read.tokens));
    furnish(fragment, answer, isClosed);
    return fragment;
  }

  private showPlain(): void {
    const text = make("p", "md-plain");
    text.dir = "auto";
    text.textContent = this.source;
    this.settled = "";
    this.settledNode = null;
    this.element.replaceChildren(text);
  }
}

/** Where text that goes on would stand: the last block in the last block. */
function lastBlock(element: Element): Element {
  const last = element.lastElementChild;
  return last !== null && /^(?:P|UL|OL|LI|BLOCKQUOTE|DIV|H\d)$/.test(last.nodeName)
    ? lastBlock(last)
    : element;
}
