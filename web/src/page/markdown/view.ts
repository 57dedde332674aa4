/**
 * An answer as it is shown, kept up to date as it grows.
 *
 * What is closed is shown once; each update costs what is new and the one open block. What takes
 * longer than a turn may is shown in the next ones.
 */
import { type Block, BlockCutter } from "./blocks.ts";
import { type BlockView, viewOf } from "./block-views.ts";
import { noteStreaming } from "./colouring.ts";
import { shownEnd } from "./half-open.ts";
import { HtmlWriter } from "./html.ts";
import type { Cited, Labels } from "./labels.ts";
import { MOST_DEFINITIONS, MOST_TURN_MILLISECONDS } from "./limits.ts";
import type { Answer } from "./prose.ts";

export interface ViewOptions {
  labels: Labels;
  sources: readonly Cited[];
  /** Of one turn; tests have no hurry. */
  turnMilliseconds?: number;
}

export class MarkdownView {
  private readonly root: HTMLElement;
  private readonly answer: Answer;
  private readonly turnMilliseconds: number;
  private cutter = new BlockCutter();
  private text = "";
  private isFinished = false;
  /** The views of all blocks that are shown, in their order; the first `settled` ones change no more. */
  private readonly views: BlockView[] = [];
  private settled = 0;
  private turn: ReturnType<typeof setTimeout> | undefined;

  constructor(root: HTMLElement, options: ViewOptions) {
    const { labels, sources } = options;
    this.root = root;
    this.turnMilliseconds = options.turnMilliseconds ?? MOST_TURN_MILLISECONDS;
    this.answer = {
      labels,
      sources,
      writer: new HtmlWriter({ image: (description) => labels.image(description) }),
      definitions: {},
    };
  }

  /** Show the text, which mostly begins with what is shown. */
  update(text: string, isStreaming: boolean): void {
    noteStreaming(this, isStreaming);
    if (text === this.text && this.isFinished === !isStreaming) {
      return;
    }
    if (!text.startsWith(this.text) || this.isFinished) {
      this.begin();
    }
    this.text = text;
    this.cutter.read(text);
    if (!isStreaming) {
      this.cutter.finish();
      this.isFinished = true;
    }
    this.show();
  }

  destroy(): void {
    clearTimeout(this.turn);
    noteStreaming(this, false);
  }

  private begin(): void {
    this.cutter = new BlockCutter();
    this.isFinished = false;
    this.settled = 0;
    this.answer.definitions = {};
    for (const view of this.views.splice(0)) {
      view.element.remove();
    }
  }

  private show(): void {
    clearTimeout(this.turn);
    const end = performance.now() + this.turnMilliseconds;
    const { cutter } = this;
    while (this.settled < cutter.closed) {
      const block = cutter.blocks[this.settled];
      if (block !== undefined) {
        this.showBlock(this.settled, block);
      }
      this.settled += 1;
      if (performance.now() > end && this.settled < cutter.closed) {
        this.turn = setTimeout(() => {
          this.show();
        });
        return;
      }
    }
    this.showOpen();
  }

  private showOpen(): void {
    const { cutter, text, settled } = this;
    const blocks = this.isFinished ? [] : cutter.provisional(shownEnd(text, cutter.openLine));
    blocks.forEach((block, index) => {
      // What may still change is open, whatever it seems to be.
      this.showBlock(settled + index, { ...block, isClosed: false });
    });
    for (const view of this.views.splice(settled + blocks.length)) {
      view.element.remove();
    }
  }

  private showBlock(index: number, block: Block): void {
    const known = this.views[index];
    let view = known;
    if (view?.kind !== block.kind) {
      view = viewOf(block.kind, this.answer);
      known?.element.replaceWith(view.element);
      this.views[index] = view;
    }
    if (!view.element.isConnected && known === undefined) {
      this.root.append(view.element);
    }
    const before = this.answer.definitions;
    view.show(this.text, block);
    if (block.isClosed && this.answer.definitions !== before) {
      this.noteDefinitions(before, index);
    }
  }

  /** What was named before it was defined is shown again. */
  private noteDefinitions(before: Answer["definitions"], index: number): void {
    const now = this.answer.definitions;
    const added = Object.keys(now).filter((label) => !Object.hasOwn(before, label));
    if (added.length === 0 || Object.keys(now).length > MOST_DEFINITIONS) {
      this.answer.definitions = before;
      return;
    }
    for (const label of added) {
      for (const view of this.views.slice(0, index)) {
        view.relink?.(label);
      }
    }
  }
}
