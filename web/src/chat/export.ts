/** Conversations as files: JSON that comes back whole (`import.ts`), and Markdown for people. Pure. */
import { TransomError } from "../errors.ts";
import { toBase64 } from "./base64.ts";
import {
  type ConversationsFile,
  FORMAT,
  type FileConversation,
  type FileTurn,
  MAX_FILE_BYTES,
  VERSION,
} from "./export-format.ts";
import type { ReadConversation } from "./keeper.ts";
import { oneLine } from "./title.ts";
import { branchTo, treeOf } from "./tree.ts";
import type { Conversation, Preset, Time, ToolResult, Turn } from "./types.ts";

export interface ExportedFile {
  sha256: string;
  mediaType: string;
  bytes: Uint8Array;
}

export interface Exported {
  conversations: readonly ReadConversation[];
  /** Of their attachments; those that are lost are left out. */
  files: readonly ExportedFile[];
  presets: readonly Preset[];
}

/**
 * JSON in parts, for a `Blob`: one text of all attachments could be longer than texts may be.
 * @throws TransomError where the file would be too large to be read again.
 */
export function toJson({ conversations, files, presets }: Exported, now: Time): readonly string[] {
  const head: Omit<ConversationsFile, "files"> = {
    format: FORMAT,
    version: VERSION,
    exportedAt: new Date(now).toISOString(),
    conversations: conversations.map(fileConversation),
    presets,
  };
  // Attachments come last, each in a part of its own.
  const parts = [JSON.stringify(head).slice(0, -1), ',"files":['];
  for (const [index, { sha256, mediaType, bytes }] of files.entries()) {
    const file = JSON.stringify({ sha256, mediaType, base64: toBase64(bytes) });
    parts.push(index === 0 ? file : `,${file}`);
  }
  parts.push("]}\n");
  // A character is at most three bytes of UTF-8; only where that matters are they counted.
  const most = parts.reduce((sum, part) => sum + part.length, 0);
  if (most * 3 > MAX_FILE_BYTES && new Blob([...parts]).size > MAX_FILE_BYTES) {
    throw new TransomError(
      "invalid-request",
      "That is more than one file can hold (256 MiB). Save conversations one by one.",
    );
  }
  return parts;
}

export function fileConversation({ conversation, turns }: ReadConversation): FileConversation {
  const leaf = turns.some(({ id }) => id === conversation.leaf) ? conversation.leaf : null;
  return { ...conversation, leaf, turns: turns.map(fileTurn) };
}

function fileTurn(turn: Turn): FileTurn {
  const copy: Partial<Turn> = { ...turn };
  delete copy.conversation;
  const state = turn.state === "streaming" ? "interrupted" : turn.state;
  return { ...(copy as FileTurn), state };
}

/** What is said in Markdown, in the person's language. */
export interface MarkdownWords {
  untitled: string;
  you: string;
  /** Where nobody knows which model it was. */
  model: string;
  system: string;
  reasoning: string;
  attachments: string;
  sources: string;
  page: (number: number) => string;
  calls: (tool: string) => string;
  returned: (tool: string) => string;
  unfinished: string;
}

/** The branch that shows, for reading. */
export function toMarkdown({ conversation, turns }: ReadConversation, said: MarkdownWords): string {
  const branch = branchTo(treeOf(turns), conversation.leaf);
  const parts = [`# ${heading(conversation.title) || said.untitled}`];
  if (conversation.system !== "") {
    parts.push(`## ${said.system}`, conversation.system);
  }
  for (const turn of branch) {
    parts.push(...turnParts(turn, conversation, said));
  }
  return `${parts.filter((part) => part !== "").join("\n\n")}\n`;
}

function turnParts(turn: Turn, { model }: Conversation, said: MarkdownWords): string[] {
  if (turn.role === "tool") {
    return turn.result === null ? [] : resultParts(turn.result, said);
  }
  const who = turn.role === "user" ? said.you : (turn.figures?.model ?? model ?? said.model);
  const parts = [`## ${heading(who)}`];
  if (turn.attachments.length > 0) {
    const names = turn.attachments.map(({ name }) => `- ${escaped(name)}`);
    parts.push(`${said.attachments}:`, names.join("\n"));
  }
  if (turn.reasoning !== "") {
    parts.push(`${said.reasoning}:`, quoted(turn.reasoning));
  }
  parts.push(turn.text.trim());
  for (const call of turn.calls) {
    parts.push(`**${escaped(said.calls(call.name))}**`, fenced(call.arguments, "json"));
  }
  if (turn.sources.length > 0) {
    const lines = turn.sources.map(({ name, page }, index) => {
      const where = page === 0 ? "" : `, ${said.page(page)}`;
      return `${index + 1}. ${escaped(name)}${where}`;
    });
    parts.push(`${said.sources}:`, lines.join("\n"));
  }
  if (turn.error !== null) {
    parts.push(`*${escaped(turn.error)}*`);
  } else if (turn.state !== "done") {
    parts.push(`*${said.unfinished}*`);
  }
  return parts;
}

function resultParts(result: ToolResult, said: MarkdownWords): string[] {
  const images = result.views.flatMap((view) =>
    view.kind === "image" ? [`![](data:${view.mediaType};base64,${view.base64})`] : [],
  );
  return [`**${escaped(said.returned(result.name))}**`, fenced(result.text, ""), ...images];
}

/** Longer than any fence inside. */
function fenced(text: string, language: string): string {
  const longest = Math.max(0, ...(text.match(/`+/g) ?? []).map((run) => run.length));
  const fence = "`".repeat(Math.max(3, longest + 1));
  return `${fence}${language}\n${text}\n${fence}`;
}

function quoted(text: string): string {
  return text.trim().replace(/^/gm, "> ");
}

function heading(text: string): string {
  return escaped(oneLine(text));
}

/** Names and titles are no Markdown. */
function escaped(text: string): string {
  return oneLine(text).replace(/[\\`*_[\]<>#|~!]/g, "\\$&");
}

/** What some file system would not take. */
// eslint-disable-next-line no-control-regex -- control characters are among it
const NOT_IN_NAMES = /[\0-\x1f\x7f<>:"/\\|?*]+/g;

/** Of a file to save it in; file systems count 255 bytes, and a character may take four. */
export function fileNameOf(title: string, ending: "json" | "md"): string {
  const words = oneLine(title.replace(NOT_IN_NAMES, " "));
  // Dots at the start hide a file, and Windows takes none at the end.
  const name = Array.from(words.replace(/^[.\s]+/, ""))
    .slice(0, 60)
    .join("")
    .replace(/[.\s]+$/, "");
  return `${name === "" ? "transom" : name}.${ending}`;
}
