/** A block of code: what language it is in, a button that copies it, and a box that scrolls. */
import { colourLater } from "./colouring.ts";
import { iconOf } from "./icon-copy.ts";
import { LINES_A_PIECE } from "./limits.ts";
import type { Labels } from "./labels.ts";

/** Names of languages by what stands behind a fence; what is not here is shown as it stands there. */
const NAMES: Readonly<Record<string, string>> = {
  bash: "Bash",
  c: "C",
  "c++": "C++",
  cpp: "C++",
  cs: "C#",
  csharp: "C#",
  css: "CSS",
  diff: "Diff",
  go: "Go",
  html: "HTML",
  java: "Java",
  javascript: "JavaScript",
  js: "JavaScript",
  json: "JSON",
  jsx: "JSX",
  kotlin: "Kotlin",
  latex: "LaTeX",
  markdown: "Markdown",
  md: "Markdown",
  php: "PHP",
  py: "Python",
  python: "Python",
  rb: "Ruby",
  ruby: "Ruby",
  rs: "Rust",
  rust: "Rust",
  sh: "Shell",
  shell: "Shell",
  sql: "SQL",
  svg: "SVG",
  swift: "Swift",
  toml: "TOML",
  ts: "TypeScript",
  tsx: "TSX",
  typescript: "TypeScript",
  xml: "XML",
  yaml: "YAML",
  yml: "YAML",
};

/** Marks that make code read otherwise than it runs ("Trojan Source", CVE-2021-42574). */
const DIRECTION_MARKS = /[\u202a-\u202e\u2066-\u2069]/;

export class CodeBlock {
  readonly element: HTMLElement;
  readonly code: HTMLElement;
  private readonly labels: Labels;
  private readonly language: string;
  private length = 0;
  private piece: Text | null = null;
  private lines = 0;

  /** `info`: what stands behind the fence. */
  constructor(info: string, labels: Labels) {
    this.labels = labels;
    this.language = /^[^\s{,]{0,30}/.exec(info)?.[0].toLowerCase() ?? "";
    const name = NAMES[this.language] ?? this.language;
    this.code = make("code");
    const scroll = make("pre", "md-scroll");
    // The keyboard scrolls what it can focus.
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "group");
    scroll.setAttribute("aria-label", labels.code(name));
    scroll.append(this.code);
    const label = make("span", "md-language");
    label.textContent = name === "" ? labels.plainCode : name;
    const copy = make("button", "md-copy");
    copy.setAttribute("type", "button");
    copy.setAttribute("aria-label", labels.copyCode(name));
    const word = make("span");
    word.textContent = labels.copy;
    copy.append(iconOf("copy"), word);
    const head = make("div", "md-code-head");
    head.append(label, copy);
    this.element = make("div", "md-code-block");
    this.element.dir = "ltr";
    this.element.append(head, scroll);
  }

  /** More of its text; what is there already is laid out no more. */
  append(text: string): void {
    this.length += text.length;
    let from = 0;
    while (from < text.length) {
      let end = from;
      while (end < text.length && this.lines < LINES_A_PIECE) {
        const line = text.indexOf("\n", end);
        end = line < 0 ? text.length : line + 1;
        this.lines += line < 0 ? 0 : 1;
      }
      this.extend(text.slice(from, end));
      from = end;
      if (this.lines >= LINES_A_PIECE) {
        this.piece = null;
        this.lines = 0;
      }
    }
    if (DIRECTION_MARKS.test(text)) {
      this.warn();
    }
  }

  /** All of it is here. */
  finish(): void {
    colourLater(this.code, this.language);
  }

  private extend(text: string): void {
    if (this.piece === null) {
      const lines = make("span", "md-piece");
      this.piece = document.createTextNode(text);
      lines.append(this.piece);
      this.code.append(lines);
    } else {
      this.piece.appendData(text);
    }
  }

  private warn(): void {
    if (this.element.querySelector(".md-code-warning") === null) {
      const warning = make("p", "md-code-warning");
      warning.textContent = this.labels.directionMarks;
      warning.dir = "auto";
      this.element.querySelector(".md-code-head")?.after(warning);
    }
  }
}

export function make<Name extends keyof HTMLElementTagNameMap>(
  name: Name,
  className = "",
): HTMLElementTagNameMap[Name] {
  const element = document.createElement(name);
  if (className !== "") {
    element.className = className;
  }
  return element;
}
