/**
 * HTML of what an answer says. Pure: marks with our classes stand where furnish.ts puts what people
 * press and what is drawn. Everything goes through sanitize.ts before it is shown.
 *
 * Directions: each block finds its own from its first letter (`dir="auto"`), a list and a quote for
 * all that is in them; overrides in a text end with its block.
 */
import type { CitationToken, FormulaToken, Token, Tokens } from "./grammar.ts";
import { MOST_NESTING } from "./limits.ts";

/** Words that stand in for what is not shown. */
export interface Spoken {
  /** An image that is not fetched, by what it shows; "" where nobody said. */
  image: (description: string) => string;
}

type Known =
  | FormulaToken
  | CitationToken
  | Tokens.Blockquote
  | Tokens.Br
  | Tokens.Checkbox
  | Tokens.Code
  | Tokens.Codespan
  | Tokens.Def
  | Tokens.Del
  | Tokens.Em
  | Tokens.Escape
  | Tokens.Heading
  | Tokens.Hr
  | Tokens.HTML
  | Tokens.Image
  | Tokens.Link
  | Tokens.List
  | Tokens.ListItem
  | Tokens.Paragraph
  | Tokens.Space
  | Tokens.Strong
  | Tokens.Table
  | Tokens.Text;

export class HtmlWriter {
  private readonly spoken: Spoken;

  constructor(spoken: Spoken) {
    this.spoken = spoken;
  }

  /** Blocks one after another; `dir` is "" where what is around them has one. */
  blocks(tokens: readonly Token[], depth = 0, dir = ' dir="auto"'): string {
    return tokens.map((token) => this.block(token as Known, depth, dir)).join("");
  }

  /** What is in an item of a list: text alone, or paragraphs where there are several. */
  item(item: Tokens.ListItem, depth = 0): string {
    const isSeveral = item.tokens.filter(({ type }) => isProse(type)).length > 1;
    const content = item.tokens.map((token) => {
      const known = token as Known;
      if (known.type === "checkbox") {
        return `<span class="md-task${known.checked ? " md-done" : ""}"></span>`;
      }
      if (!isProse(known.type)) {
        return this.block(known, depth + 1, "");
      }
      const { text, tokens } = known as Tokens.Paragraph;
      const prose = this.prose(text, tokens);
      return isSeveral ? `<p>${prose}</p>` : prose;
    });
    return content.join("");
  }

  /** A row of a table, as `<td>` or `<th>`. */
  cells(cells: readonly Tokens.TableCell[]): string {
    return cells
      .map(({ header, align, tokens }) => {
        const tag = header ? "th" : "td";
        const scope = header ? ' scope="col"' : "";
        return `<${tag}${scope}${align === null ? "" : ` class="md-${align}"`}>${this.inline(tokens)}</${tag}>`;
      })
      .join("");
  }

  private prose(text: string, tokens: readonly Token[] | undefined): string {
    return tokens === undefined ? escapeText(text) : this.inline(tokens);
  }

  private block(token: Known, depth: number, dir: string): string {
    if (depth > MOST_NESTING) {
      return `<p${dir}>${escapeAll(token.raw)}</p>`;
    }
    switch (token.type) {
      case "space":
      case "def":
        return "";
      case "hr":
        return "<hr>";
      case "heading": {
        // The page has h1, and each turn an h2 (chat): an answer's own begin below.
        const level = Math.min(6, token.depth + 2);
        return `<h${level}${dir} class="md-h${token.depth}">${this.inline(token.tokens)}</h${level}>`;
      }
      case "paragraph":
        return `<p${dir}>${this.inline(token.tokens)}</p>`;
      case "text":
        return `<p${dir}>${this.prose(token.text, token.tokens)}</p>`;
      case "code":
        return codeHtml(token.text, token.lang ?? "");
      case "blockquote":
        return `<blockquote dir="auto">${this.blocks(token.tokens, depth + 1, "")}</blockquote>`;
      case "list":
        return this.list(token, depth);
      case "table": {
        const rows = token.rows.map((row) => `<tr>${this.cells(row)}</tr>`).join("");
        return `<table dir="auto"><thead><tr>${this.cells(token.header)}</tr></thead><tbody>${rows}</tbody></table>`;
      }
      case "formula":
        return formulaHtml(token);
      case "list_item":
        return this.item(token, depth);
      case "br":
      case "checkbox":
      case "citation":
      case "codespan":
      case "del":
      case "em":
      case "escape":
      case "html":
      case "image":
      case "link":
      case "strong":
        return `<p${dir}>${this.inline([token])}</p>`;
    }
  }

  private list(token: Tokens.List, depth: number): string {
    const items = token.items.map((item) => `<li>${this.item(item, depth)}</li>`).join("");
    if (!token.ordered) {
      return `<ul dir="auto">${items}</ul>`;
    }
    const start = token.start === "" || token.start === 1 ? "" : ` start="${token.start}"`;
    return `<ol dir="auto"${start}>${items}</ol>`;
  }

  private inline(tokens: readonly Token[], depth = 0): string {
    return tokens.map((token) => this.span(token as Known, depth)).join("");
  }

  private span(token: Known, depth: number): string {
    if (depth > MOST_NESTING) {
      return escapeAll(token.raw);
    }
    switch (token.type) {
      case "strong":
      case "em":
      case "del":
        return `<${token.type}>${this.inline(token.tokens, depth + 1)}</${token.type}>`;
      case "codespan":
        return `<code>${escapeAll(token.text)}</code>`;
      case "br":
        return "<br>";
      case "html":
        return /^<br\s*\/?>$/i.test(token.raw) ? "<br>" : escapeAll(token.raw);
      case "link":
        return this.link(token, depth);
      case "image": {
        const words = escapeAll(this.spoken.image(token.text));
        return linked(token.href, token.title, words, token.href);
      }
      case "formula":
        return formulaHtml(token);
      case "citation":
        return token.numbers.map((each) => `<span class="md-citation">${each}</span>`).join("");
      case "escape":
        return escapeAll(token.text);
      case "text":
        return token.tokens === undefined
          ? escapeText(token.text)
          : this.inline(token.tokens, depth + 1);
      case "blockquote":
      case "checkbox":
      case "code":
      case "def":
      case "heading":
      case "hr":
      case "list":
      case "list_item":
      case "paragraph":
      case "space":
      case "table":
        return escapeAll(token.raw);
    }
  }

  private link(token: Tokens.Link, depth: number): string {
    const words =
      token.autolink === true ? escapeAll(token.text) : this.inline(token.tokens, depth + 1);
    return linked(token.href, token.title ?? null, words, token.href);
  }
}

/** The address if it may be followed from an answer: of the web or of a person, and whole. */
export function safeAddress(href: string): string | null {
  if (!/^(?:https?:\/\/|mailto:)[^\s]/i.test(href) || !URL.canParse(href)) {
    return null;
  }
  return new URL(href).href;
}

/** A link; where nobody may follow it, its words with the address behind them, to be read. */
function linked(href: string, title: string | null, words: string, shown: string): string {
  const address = safeAddress(decodeReferences(href));
  if (address === null) {
    const isShort = shown.length <= 200;
    return shown === "" || !isShort
      ? words
      : `${words} <span class="md-address">(${escapeText(shown)})</span>`;
  }
  const titled = title === null || title === "" ? "" : ` title="${escapeText(title)}"`;
  return `<a href="${escapeAll(address)}"${titled}>${words}</a>`;
}

export function codeHtml(text: string, language: string): string {
  const title = language === "" ? "" : ` title="${escapeText(language)}"`;
  return `<pre class="md-code"${title}><code>${escapeAll(text)}</code></pre>`;
}

function formulaHtml({ text, isDisplay }: FormulaToken): string {
  const display = isDisplay ? " md-display" : "";
  return `<span class="md-formula${display}">${escapeAll(text)}</span>`;
}

function isProse(type: string): boolean {
  return type === "text" || type === "paragraph";
}

const ESCAPES: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

function escapeAll(text: string): string {
  return text.replace(/[&<>"']/g, (character) => ESCAPES[character] ?? "");
}

/** In prose "&copy;" is ©, as CommonMark has it. */
function escapeText(text: string): string {
  return text.replace(
    /[<>"']|&(?!(?:#\d{1,7}|#[Xx][a-fA-F0-9]{1,6}|\w{2,31});)/g,
    (character) => ESCAPES[character] ?? "",
  );
}

/** "&" may be written as "&amp;" in an address; all other references in one are refused with it. */
function decodeReferences(href: string): string {
  return href.replace(/&amp;/g, "&");
}
