/**
 * Puts what is pressed, scrolled and drawn where html.ts left its marks. Knows that all marks are
 * ours: what a model writes as HTML is text.
 */
import { CodeBlock, make } from "./code-block.ts";
import { drawFormula } from "./formula.ts";
import { type Cited, type Labels, citationLabel } from "./labels.ts";

export interface Furniture {
  labels: Labels;
  sources: readonly Cited[];
}

export function furnish(within: DocumentFragment, furniture: Furniture, isClosed: boolean): void {
  const { labels } = furniture;
  for (const mark of within.querySelectorAll<HTMLElement>(".md-code")) {
    const block = new CodeBlock(mark.title, labels);
    block.append(mark.textContent.replace(/\n$/, "") + "\n");
    mark.replaceWith(block.element);
    if (isClosed) {
      block.finish();
    }
  }
  for (const table of within.querySelectorAll("table")) {
    const box = tableBox(labels, table.tBodies[0]?.rows.length ?? 0);
    table.replaceWith(box);
    box.append(table);
  }
  for (const mark of within.querySelectorAll<HTMLElement>(".md-formula")) {
    drawFormula(mark);
  }
  for (const mark of within.querySelectorAll<HTMLElement>(".md-citation")) {
    mark.replaceWith(citation(mark.textContent, furniture));
  }
  for (const mark of within.querySelectorAll<HTMLElement>(".md-task")) {
    const isDone = mark.classList.contains("md-done");
    mark.setAttribute("role", "img");
    mark.setAttribute("aria-label", isDone ? labels.done : labels.notDone);
  }
}

/** What a table scrolls in, by keyboard too. */
export function tableBox(labels: Labels, rows: number): HTMLElement {
  const box = make("div", "md-table");
  box.tabIndex = 0;
  box.setAttribute("role", "group");
  box.setAttribute("aria-label", labels.table(rows));
  return box;
}

function citation(text: string, { labels, sources }: Furniture): HTMLElement {
  const number = Number(text);
  const button = make("button", "md-citation");
  const label = citationLabel(labels, sources, number);
  button.type = "button";
  button.textContent = text;
  button.setAttribute("aria-label", label);
  button.title = label;
  return button;
}
