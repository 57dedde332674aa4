/** What an answer says without its marks, to be spoken or written into a file. Pure. */
import { type Block, BlockCutter } from "./blocks.ts";
import {
  type CitationToken,
  type FormulaToken,
  type Token,
  type Tokens,
  hasTooManyMarks,
  readBlock,
} from "./grammar.ts";

export interface PlainTextOptions {
  /** false: leave blocks of code out, as a voice should. */
  hasCode?: boolean;
}

/** Paragraphs with an empty line between them; formulas as TeX, images by what they show. */
export function plainText(markdown: string, { hasCode = true }: PlainTextOptions = {}): string {
  const cutter = new BlockCutter();
  cutter.read(markdown);
  cutter.finish();
  return cutter.blocks
    .map((block) => textOfBlock(markdown, block, hasCode).trimEnd())
    .filter((text) => text !== "")
    .join("\n\n");
}

function textOfBlock(markdown: string, block: Block, hasCode: boolean): string {
  const source = markdown.slice(block.start, block.end);
  switch (block.kind) {
    case "plain":
      return source;
    case "fence":
      return hasCode ? markdown.slice(block.inside.start, block.inside.end) : "";
    case "list": {
      // One by one, as they are shown: an item is no longer than what is read as markdown.
      const items = block.parts.map((part, index) =>
        read(markdown.slice(part, block.parts[index + 1] ?? block.end), hasCode),
      );
      return items.join("\n");
    }
    case "table": {
      const [first = block.end] = block.parts;
      const head = markdown.slice(block.start, first).replace(/\n*$/, "\n");
      const rows = block.parts.map((part, index) => {
        const row = markdown.slice(part, block.parts[index + 1] ?? block.end);
        return read(head + row, hasCode)
          .split("\n")
          .slice(1)
          .join("\n");
      });
      return [read(head, hasCode), ...rows].join("\n");
    }
    case "text":
      return read(source, hasCode);
  }
}

function read(source: string, hasCode: boolean): string {
  if (hasTooManyMarks(source)) {
    return source;
  }
  try {
    const { tokens } = readBlock(source, { definitions: {}, sources: 0 });
    return blocksText(tokens, hasCode, "\n\n");
  } catch (error) {
    if (error instanceof RangeError) {
      return source;
    }
    throw error;
  }
}

function blocksText(tokens: readonly Token[], hasCode: boolean, between: string): string {
  return tokens
    .map((token) => blockText(token, hasCode).trimEnd())
    .filter((text) => text !== "")
    .join(between);
}

function blockText(token: Token, hasCode: boolean): string {
  switch (token.type) {
    case "code":
      return hasCode ? (token as Tokens.Code).text : "";
    case "list": {
      const { items, ordered, start } = token as Tokens.List;
      return items
        .map((item, index) => {
          const mark = ordered ? `${(start === "" ? 1 : start) + index}. ` : "- ";
          return mark + blocksText(item.tokens, hasCode, "\n").replaceAll("\n", "\n  ");
        })
        .join("\n");
    }
    case "table": {
      const { header, rows } = token as Tokens.Table;
      return [header, ...rows]
        .map((row) => row.map((cell) => inlineText(cell.tokens)).join(", "))
        .join("\n");
    }
    case "blockquote":
      return blocksText((token as Tokens.Blockquote).tokens, hasCode, "\n\n");
    case "space":
    case "hr":
    case "def":
      return "";
    case "heading":
    case "paragraph":
    case "text": {
      const { tokens, text } = token as Tokens.Text;
      return tokens === undefined ? text : inlineText(tokens);
    }
    default:
      return inlineText([token]);
  }
}

function inlineText(tokens: readonly Token[]): string {
  return tokens
    .map((token): string => {
      switch (token.type) {
        case "br":
          return "\n";
        case "html":
          return /^<br\s*\/?>$/i.test(token.raw) ? "\n" : token.raw;
        case "checkbox":
          return "";
        case "citation":
          return (token as unknown as CitationToken).raw;
        case "formula":
          return (token as unknown as FormulaToken).text;
        default: {
          const { tokens: inside, text } = token as Tokens.Text;
          return inside === undefined ? withoutReferences(text) : inlineText(inside);
        }
      }
    })
    .join("");
}

/** The few references that models write; others stay as they are. */
const REFERENCES: Readonly<Record<string, string>> = {
  "&amp;": "&",
  "&lt;": "<",
  "&gt;": ">",
  "&quot;": '"',
  "&#39;": "'",
  "&nbsp;": "\u00a0",
};

function withoutReferences(text: string): string {
  return text.replace(/&(?:amp|lt|gt|quot|#39|nbsp);/g, (reference) => REFERENCES[reference] ?? "");
}
