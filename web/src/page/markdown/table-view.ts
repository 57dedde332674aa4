/**
 * A table whose rows are shown one by one as they come: the first hundred, and all the others when
 * somebody asks for them, as many at a time as a frame takes.
 */
import type { BlockView } from "./block-views.ts";
import type { Block } from "./blocks.ts";
import { make } from "./code-block.ts";
import { furnish, tableBox } from "./furnish.ts";
import { type Tokens, hasTooManyMarks, readBlock } from "./grammar.ts";
import { closeProvisionally } from "./half-open.ts";
import { MOST_TABLE_CELLS, MOST_TABLE_ROWS } from "./limits.ts";
import { patchChildren } from "./patch.ts";
import type { Answer } from "./prose.ts";
import { sanitizeMarkdown } from "./sanitize.ts";

/** Rows with more marks than are read get theirs escaped. */
function legible(rows: string): string {
  return rows
    .split("\n")
    .map((row) => (hasTooManyMarks(row) ? row.replace(/[\\`*_~$<[\]!]/g, "\\$&") : row))
    .join("\n");
}

export class TableView implements BlockView {
  readonly kind = "table";
  readonly element = make("div", "md-block");
  private readonly answer: Answer;
  private readonly box: HTMLElement;
  private readonly table = make("table");
  private readonly body = make("tbody");
  private readonly foot = make("p", "md-table-foot");
  private head = "";
  private most = MOST_TABLE_ROWS;
  private isWanted = false;
  /** How many rows are shown that change no more. */
  private settled = 0;
  private text = "";
  private block: Block | null = null;

  constructor(answer: Answer) {
    this.answer = answer;
    this.box = tableBox(answer.labels, 0);
    this.table.dir = "auto";
    this.box.append(this.table);
    this.element.append(this.box);
  }

  show(text: string, block: Block): void {
    this.text = text;
    this.block = block;
    const first = block.parts[0] ?? block.end;
    const head = text.slice(block.start, first).replace(/\n*$/, "\n");
    if (head !== this.head) {
      this.begin(head);
    }
    this.showRows(block);
  }

  private begin(head: string): void {
    this.head = head;
    this.settled = 0;
    const fragment = this.read("");
    patchChildren(this.table, fragment.querySelector("table") ?? fragment);
    this.body.replaceChildren();
    this.table.tBodies[0]?.remove();
    this.table.append(this.body);
  }

  private showRows(block: Block): void {
    const { parts, isClosed, end } = block;
    const wanted = Math.min(parts.length, this.most);
    for (const row of [...this.body.rows].slice(wanted)) {
      row.remove();
    }
    this.settled = Math.min(this.settled, wanted);
    if (this.settled < wanted) {
      const last = parts[wanted] ?? end;
      const isOpen = !isClosed && wanted === parts.length;
      const source = this.text.slice(parts[this.settled], last);
      const fragment = this.read(isOpen ? closeProvisionally(source) : source);
      const rows = [...fragment.querySelectorAll("tbody > tr")];
      rows.forEach((row, index) => {
        const shown = this.body.rows[this.settled + index];
        if (shown === undefined) {
          this.body.append(row);
        } else {
          patchChildren(shown, row);
        }
      });
      this.settled = isOpen ? wanted - 1 : wanted;
    }
    this.tell(parts.length);
  }

  /** The table with these rows only. */
  private read(rows: string): DocumentFragment {
    const { answer } = this;
    const { tokens } = readBlock(legible(this.head) + legible(rows), {
      definitions: answer.definitions,
      sources: answer.sources.length,
    });
    const table = tokens.filter(({ type }) => type === "table").slice(0, 1) as Tokens.Table[];
    const fragment = sanitizeMarkdown(answer.writer.blocks(table));
    furnish(fragment, answer, true);
    return fragment;
  }

  /** How many rows there are, and how to see those that do not show. */
  private tell(rows: number): void {
    const { labels } = this.answer;
    this.box.setAttribute("aria-label", labels.table(rows));
    const columns = Math.max(1, this.table.tHead?.rows[0]?.cells.length ?? 1);
    const most = Math.max(MOST_TABLE_ROWS, Math.floor(MOST_TABLE_CELLS / columns));
    if (rows <= this.most) {
      this.foot.remove();
      return;
    }
    if (!this.foot.isConnected) {
      this.element.append(this.foot);
    }
    if (this.isWanted) {
      this.foot.textContent = labels.moreRows(rows - this.most);
      if (this.most < most) {
        this.showMore(most);
      }
      return;
    }
    const button = this.foot.querySelector("button") ?? make("button", "quiet md-all-rows");
    button.type = "button";
    button.textContent = labels.showAllRows(rows);
    button.onclick = () => {
      this.isWanted = true;
      // What was pressed goes away: the focus goes to what it showed.
      this.box.focus({ preventScroll: true });
      this.showMore(most);
    };
    this.foot.replaceChildren(button);
  }

  private showMore(most: number): void {
    setTimeout(() => {
      this.most = Math.min(most, this.most + MOST_TABLE_ROWS);
      if (this.block !== null && this.element.isConnected) {
        this.showRows(this.block);
      }
    });
  }
}
