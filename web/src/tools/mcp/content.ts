/** What an MCP tool gave, as text for the model and views for people. Pure. */
import type { ToolView } from "../../chat/types.ts";
import type { ToolOutput } from "../types.ts";

/** One block of content, as far as it is used; servers send what they like. */
interface Block {
  type?: unknown;
  text?: unknown;
  data?: unknown;
  mimeType?: unknown;
  uri?: unknown;
  name?: unknown;
  resource?: { uri?: unknown; text?: unknown; blob?: unknown; mimeType?: unknown };
}

export interface Content {
  content?: readonly Block[];
  structuredContent?: unknown;
  isError?: boolean;
}

/** More blocks than anybody looks at. */
const MAX_BLOCKS = 256;

export function outputOf({
  content = [],
  structuredContent,
  isError = false,
}: Content): ToolOutput {
  const views: ToolView[] = [];
  const texts = content.slice(0, MAX_BLOCKS).map((block) => textOf(block, views));
  if (content.length > MAX_BLOCKS) {
    texts.push(`[${content.length - MAX_BLOCKS} more parts were left out.]`);
  }
  const hasText = content.some(({ type }) => type === "text");
  if (!hasText && structuredContent !== undefined) {
    texts.push(JSON.stringify(structuredContent));
  }
  const text = texts.filter((part) => part !== "").join("\n\n");
  return { text: text === "" ? "(The tool gave nothing.)" : text, views, isError };
}

function textOf(block: Block, views: ToolView[]): string {
  const { type, resource } = block;
  switch (type) {
    case "text":
      return written(block.text);
    case "image":
      return pictured(block.mimeType, block.data, views);
    case "audio":
      return "[Sound, which is not played here.]";
    case "resource_link":
      return `[${written(block.name)}: ${written(block.uri)}]`;
    case "resource":
      return typeof resource?.text === "string"
        ? resource.text
        : pictured(resource?.mimeType, resource?.blob, views);
    default:
      return `[A part of the kind ${written(type).slice(0, 40)}, which is not known here.]`;
  }
}

function pictured(mediaType: unknown, base64: unknown, views: ToolView[]): string {
  const type = written(mediaType).toLowerCase();
  if (!type.startsWith("image/") || typeof base64 !== "string") {
    return `[A file of the kind ${type.slice(0, 60)}, which is not shown here.]`;
  }
  views.push({ kind: "image", mediaType: type, base64 });
  return `[A picture (${type.slice(0, 60)}), which the user sees.]`;
}

function written(value: unknown): string {
  return typeof value === "string" ? value : "";
}
