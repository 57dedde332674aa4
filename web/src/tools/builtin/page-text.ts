/**
 * Text of a web page, for a model to read: headings, paragraphs, lists, tables and links in a little
 * markdown, without what surrounds them.
 *
 * The parser makes a document that runs no scripts and loads nothing.
 */

export interface PageText {
  title: string;
  text: string;
}

/** Deeper trees are made to break readers; real pages have some fifty levels. */
const MAX_DEPTH = 512;
/** More text than anybody reads in one call, and what one walk of the tree may cost. */
const MAX_CHARACTERS = 2_000_000;
const MAX_LINK_CHARACTERS = 500;

const SILENT: ReadonlySet<string> = new Set(
  "script style noscript template svg math canvas iframe object embed nav aside form button select dialog head".split(
    " ",
  ),
);
const BLOCKS: ReadonlySet<string> = new Set(
  (
    "address article blockquote dd div dl dt fieldset figcaption figure footer h1 h2 h3 h4 h5 h6 header hr li main ol p pre " +
    "section table tbody thead tr ul br"
  ).split(" "),
);
/** Of a page's own text, this much is in its `main`, or that is not where the text is. */
const MAIN_PART = 0.2;

/** @param address of the page, for links. */
export function readPage(html: string, address: string): PageText {
  const document = new DOMParser().parseFromString(html, "text/html");
  const base = baseOf(document, address);
  const all = textOf(document.body, base);
  const main = document.querySelector("main, article, [role=main]");
  const mainText = main === null ? "" : textOf(main, base);
  return {
    title: collapsed(document.title).trim().slice(0, 300),
    text: mainText.length >= all.length * MAIN_PART ? mainText : all,
  };
}

function baseOf(document: Document, address: string): string {
  const href = document.querySelector("base")?.getAttribute("href") ?? "";
  return URL.parse(href, address)?.href ?? address;
}

interface Writer {
  parts: string[];
  length: number;
  base: string;
}

function textOf(root: Element, base: string): string {
  const writer: Writer = { parts: [], length: 0, base };
  write(root, writer, 0, false);
  // By lines, not by a pattern: one with two stars takes hours for a long line of spaces.
  const lines = writer.parts
    .join("")
    .split("\n")
    .map((line) => line.trim());
  return lines
    .filter((line, index) => line !== "" || lines[index - 1] !== "")
    .join("\n")
    .trim();
}

function write(node: Node, writer: Writer, depth: number, isPre: boolean): void {
  if (depth > MAX_DEPTH || writer.length > MAX_CHARACTERS) {
    return;
  }
  if (node.nodeType === Node.TEXT_NODE) {
    add(writer, isPre ? (node.nodeValue ?? "") : collapsed(node.nodeValue ?? ""));
    return;
  }
  if (!(node instanceof Element) || isSilent(node)) {
    return;
  }
  const name = node.localName;
  const isBlock = BLOCKS.has(name);
  if (isBlock) {
    add(writer, name === "br" || name === "li" || name === "tr" ? "\n" : "\n\n");
  }
  add(writer, markOf(name));
  if (name === "img") {
    const description = collapsed(node.getAttribute("alt") ?? "").trim();
    add(writer, description === "" ? "" : `[image: ${description.slice(0, 200)}]`);
  }
  const link = name === "a" ? linkOf(node, writer.base) : null;
  add(writer, link === null ? "" : "[");
  for (const child of node.childNodes) {
    write(child, writer, depth + 1, isPre || name === "pre");
  }
  add(writer, link === null ? "" : `](${link})`);
  if (name === "td" || name === "th") {
    add(writer, " | ");
  } else if (isBlock && name !== "br") {
    add(writer, name === "li" || name === "tr" ? "\n" : "\n\n");
  }
}

function add(writer: Writer, text: string): void {
  writer.parts.push(text);
  writer.length += text.length;
}

function markOf(name: string): string {
  const level = /^h([1-6])$/.exec(name)?.[1];
  return level === undefined ? (name === "li" ? "- " : "") : `${"#".repeat(Number(level))} `;
}

/** Where a link with text in it leads; null: nowhere that can be read. */
function linkOf(link: Element, base: string): string | null {
  const href = link.getAttribute("href") ?? "";
  const address = href.startsWith("#") ? null : URL.parse(href, base);
  const isRead = address !== null && /^https?:$/.test(address.protocol);
  const hasText = link.textContent.trim() !== "";
  return isRead && hasText && address.href.length <= MAX_LINK_CHARACTERS ? address.href : null;
}

function isSilent(element: Element): boolean {
  return (
    SILENT.has(element.localName) ||
    element.hasAttribute("hidden") ||
    element.getAttribute("aria-hidden") === "true"
  );
}

function collapsed(text: string): string {
  return text.replaceAll(/\s+/g, " ");
}
