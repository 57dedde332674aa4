// @vitest-environment jsdom
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { en } from "../../../web/src/page/i18n/en/index.ts";
import { MarkdownView } from "../../../web/src/page/markdown/view.ts";
import { randomNumbers } from "../random-numbers.ts";
import { ANSWERS, EVERYTHING } from "./markdown-answers.ts";

const SOURCES = [
  { name: "report.pdf", page: 3 },
  { name: "notes.txt", page: 0 },
];

let root: HTMLElement;

beforeEach(() => {
  root = document.createElement("div");
  document.body.append(root);
});

afterEach(() => {
  root.remove();
});

function viewIn(element: HTMLElement, sources = SOURCES): MarkdownView {
  return new MarkdownView(element, {
    labels: en.markdown,
    sources,
    turnMilliseconds: Number.POSITIVE_INFINITY,
  });
}

function shown(text: string, sources = SOURCES): HTMLElement {
  viewIn(root, sources).update(text, false);
  return root;
}

function streamed(text: string, cuts: Iterable<number>): string {
  const element = document.createElement("div");
  document.body.append(element);
  const view = viewIn(element);
  for (const cut of cuts) {
    view.update(text.slice(0, cut), true);
  }
  view.update(text, false);
  element.remove();
  return element.innerHTML;
}

describe("an answer that streams", { timeout: 60_000 }, () => {
  it.each(Object.entries(ANSWERS))("ends as if it had come at once: %s", (_name, text) => {
    const whole = shown(text).innerHTML;
    const random = randomNumbers(7);
    for (let round = 0; round < 4; round += 1) {
      const cuts: number[] = [];
      // Letter by letter at first, then in larger pieces; of long answers only the larger.
      const most = Math.max(text.length / 30, 3 ** (round % 5));
      for (let at = 0; at < text.length; at += 1 + Math.floor(random() * most)) {
        cuts.push(at);
      }
      expect(streamed(text, cuts)).toBe(whole);
    }
  });

  it("shows each closed block once", () => {
    const view = viewIn(root);
    view.update("# One\n\nTwo\n\nThr", true);
    const [one, two] = root.children;
    view.update("# One\n\nTwo\n\nThree\n\n- four\n- fi", true);
    expect(root.children[0]).toBe(one);
    expect(root.children[1]).toBe(two);
    const [four] = root.querySelectorAll("li");
    view.update("# One\n\nTwo\n\nThree\n\n- four\n- five\n- six", true);
    expect(root.querySelector("li")).toBe(four);
  });

  it("reads a long paragraph as it grows as if it were whole, and keeps what is settled", () => {
    const text = Array.from(
      { length: 40 },
      (_, n) =>
        `The *wall* number ${n} carries \`bar${n}\` and **${n} metres** of [oak](https://a.example/).`,
    ).join(" ");
    const view = viewIn(root);
    let first: Element | null = null;
    for (let end = text.indexOf(" The"); end >= 0; end = text.indexOf(" The", end + 1)) {
      view.update(text.slice(0, end), true);
      first ??= root.querySelector("em");
      const whole = document.createElement("div");
      viewIn(whole).update(text.slice(0, end), false);
      expect(root.innerHTML, String(end)).toBe(whole.innerHTML);
    }
    // What is settled is not read with the rest: they meet in two texts, until the end joins them.
    view.update(text, true);
    const paragraph = root.querySelector("p");
    const meeting = paragraph?.childNodes.length ?? 0;
    view.update(text, false);
    expect(root.querySelector("p")).toBe(paragraph);
    expect(root.querySelector("em")).toBe(first);
    expect(paragraph?.childNodes.length).toBeLessThan(meeting);
  });

  it("never shows a mark that will vanish", () => {
    const text = "So **bold** and *it* and `code` and [a link](https://example.com/x) end.";
    const view = viewIn(root);
    for (let cut = 1; cut <= text.length; cut += 1) {
      view.update(text.slice(0, cut), true);
      expect(root.textContent, text.slice(0, cut)).not.toMatch(/[*`[\]()]|https/);
    }
  });
});

describe("what an answer says", () => {
  it("has everything that GitHub's markdown has", () => {
    shown(EVERYTHING);
    for (const selector of [
      ...["h3", "h4", "strong", "em", "del", "code", "ul li", "ol li", "blockquote p", "hr"],
      ...[".md-task.md-done", ".md-table td", ".md-code-block pre code", 'a[href^="https://"]'],
    ]) {
      expect(root.querySelector(selector), selector).not.toBeNull();
    }
  });
});
