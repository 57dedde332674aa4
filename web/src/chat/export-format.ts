/**
 * Conversations in a file: what stands in it, and the checks of what comes back.
 *
 *   { "format": "transom-conversations", "version": 2, "exportedAt": "2026-…",
 *     "conversations": [{ …conversation, "turns": [{ …turn without its conversation }] }],
 *     "files": [{ "sha256", "mediaType", "base64" }],
 *     "presets": [ … ] }
 */
import { ERROR_CODES } from "../errors.ts";
import {
  type Check,
  fieldsOf,
  flag,
  integer,
  list,
  nullable,
  number,
  object,
  objectWith,
  oneOf,
  partial,
  pattern,
  refuse,
  text,
} from "./json-fields.ts";
import type {
  AnswerFigures,
  Attachment,
  ChatParameters,
  Conversation,
  DocumentAttachment,
  ImageAttachment,
  Preset,
  Source,
  ToolCall,
  ToolResult,
  ToolView,
  Turn,
} from "./types.ts";

export const FORMAT = "transom-conversations";
/** 2, 2026-11: how long a model thought, and reasons as codes, may stand beside the rest. */
export const VERSION = 2;

/** It is read as one JavaScript text, of which Chromium's hold 512 Mi units, and lives thrice meanwhile. */
export const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** More than a life of chats; a file of MAX_FILE_BYTES could name millions of empty ones. */
export const MAX_CONVERSATIONS = 20_000;
const MAX_TURNS = 50_000;
/** A book has a million; the composer and context windows allow less. */
const MAX_TEXT_CHARACTERS = 16 * 1024 * 1024;
/** Images that tools drew: what fits into a file at all. */
const MAX_BASE64_CHARACTERS = 128 * 1024 * 1024;
const MAX_ID_CHARACTERS = 128;
const MAX_NAME_CHARACTERS = 4096;
/** Of attachments, calls, passages, views: more than a page can show. */
const MAX_PARTS = 10_000;
/** The last moment that a `Date` can say. */
const MAX_TIME = 8.64e15;

export type FileTurn = Omit<Turn, "conversation">;

export interface FileConversation extends Conversation {
  turns: readonly FileTurn[];
}

export interface FileBlob {
  sha256: string;
  mediaType: string;
  base64: string;
}

export interface ConversationsFile {
  format: typeof FORMAT;
  version: typeof VERSION;
  /** ISO 8601; for people. */
  exportedAt: string;
  conversations: readonly FileConversation[];
  files: readonly FileBlob[];
  presets: readonly Preset[];
}

const id = text(MAX_ID_CHARACTERS, 1);
const name = text(MAX_NAME_CHARACTERS);
const words = text(MAX_TEXT_CHARACTERS);
const time = integer(0, MAX_TIME);
const count = integer(0, Number.MAX_SAFE_INTEGER);
const sha256 = pattern(/^[0-9a-f]{64}$/, "SHA-256 in lower-case hexadecimal digits");
/** "" where the browser knew none. */
const mediaType = pattern(/^([\w.+-]+\/[\w.+-]+(;[\x20-\x7e]*)?)?$/, "media type");

const parameters: Check<ChatParameters> = partial({
  temperature: number,
  top_p: number,
  top_k: number,
  min_p: number,
  typical_p: number,
  repeat_penalty: number,
  repeat_last_n: number,
  presence_penalty: number,
  frequency_penalty: number,
  seed: number,
  num_predict: number,
  stop: list(words, MAX_PARTS),
});

const attachmentFields = { id, name, mediaType, bytes: count, sha256 };
const image: Check<ImageAttachment> = object({
  ...attachmentFields,
  kind: oneOf("image"),
  width: count,
  height: count,
});
const document: Check<DocumentAttachment> = object({
  ...attachmentFields,
  kind: oneOf("document"),
  characters: count,
  pages: count,
});

/** Which of several forms an object has, by its `kind`. */
function byKind<T>(checks: Record<string, Check<T>>): Check<T> {
  return (value, path) => {
    const { kind } = fieldsOf(value, path);
    const check =
      typeof kind === "string" && Object.hasOwn(checks, kind) ? checks[kind] : undefined;
    return (
      check?.(value, path) ?? refuse(`${path}.kind`, `is none of ${Object.keys(checks).join(", ")}`)
    );
  };
}

const attachment = byKind<Attachment>({ image, document });
const call: Check<ToolCall> = object({ id: name, name, arguments: words });
const view = byKind<ToolView>({
  text: object({ kind: oneOf("text"), text: words }),
  image: object({ kind: oneOf("image"), mediaType, base64: text(MAX_BASE64_CHARACTERS) }),
});
const result: Check<ToolResult> = object({
  callId: name,
  name,
  isError: flag,
  text: words,
  views: list(view, MAX_PARTS),
});
const source: Check<Source> = object({
  attachment: id,
  name,
  page: count,
  text: words,
  score: number,
});
const figures: Check<AnswerFigures> = objectWith(
  {
    model: name,
    servedBy: oneOf("browser", "server"),
    why: words,
    leftOutTurns: count,
    promptTokens: count,
    cachedTokens: count,
    completionTokens: count,
    timeToFirstTokenSeconds: number,
    decodeTokensPerSecond: number,
  },
  { whyCode: name },
);

const turn: Check<FileTurn> = objectWith(
  {
    id,
    parent: nullable(id),
    createdAt: time,
    role: oneOf("user", "assistant", "tool"),
    text: words,
    reasoning: words,
    attachments: list(attachment, MAX_PARTS),
    calls: list(call, MAX_PARTS),
    result: nullable(result),
    sources: list(source, MAX_PARTS),
    // "streaming" is nothing that a file can do.
    state: oneOf("done", "stopped", "interrupted", "length", "failed"),
    error: nullable(words),
    figures: nullable(figures),
  },
  { errorCode: oneOf(...ERROR_CODES), reasoningSeconds: number },
);

const conversation: Check<FileConversation> = object({
  id,
  title: name,
  createdAt: time,
  updatedAt: time,
  isPinned: flag,
  model: nullable(name),
  preset: nullable(id),
  system: words,
  parameters,
  tools: list(name, MAX_PARTS),
  overflow: oneOf("ask", "drop-oldest"),
  leaf: nullable(id),
  turns: list(turn, MAX_TURNS),
});

const file: Check<ConversationsFile> = object({
  format: oneOf(FORMAT),
  // A file of version 1 is one of version 2 that leaves out what it may.
  version: (value, path) =>
    value === VERSION || value === 1
      ? VERSION
      : refuse(path, `is not ${VERSION}: another version of this app wrote the file`),
  exportedAt: name,
  conversations: list(conversation, MAX_CONVERSATIONS),
  files: list(object<FileBlob>({ sha256, mediaType, base64: text(MAX_FILE_BYTES) }), MAX_TURNS),
  presets: list(object<Preset>({ id, name, modelfile: words, updatedAt: time }), MAX_CONVERSATIONS),
});

/** @throws TransomError that names the first field that is wrong. */
export function checkFile(value: unknown): ConversationsFile {
  if (Array.isArray(value) || fieldsOf(value, "The file")["format"] !== FORMAT) {
    refuse(
      "The file",
      `holds no conversations of this app ("format" is not "${FORMAT}"), and none that ChatGPT or Open WebUI exported`,
    );
  }
  const checked = file(value, "");
  checkIds(checked.conversations, "conversations");
  checkIds(checked.presets, "presets");
  checked.conversations.forEach(checkTree);
  checkFiles(checked);
  return checked;
}

function checkIds(rows: readonly { id: string }[], path: string): void {
  const seen = new Set<string>();
  rows.forEach(({ id: each }, index) => {
    if (seen.has(each)) {
      refuse(`${path}[${index}].id`, "is there twice");
    }
    seen.add(each);
  });
}

/** Every turn has its parent, no turn follows itself, and the leaf is there. */
function checkTree({ turns, leaf }: FileConversation, index: number): void {
  const path = `conversations[${index}]`;
  checkIds(turns, `${path}.turns`);
  const parents = new Map(turns.map((each) => [each.id, each.parent]));
  if (leaf !== null && !parents.has(leaf)) {
    refuse(`${path}.leaf`, "is no turn of this conversation");
  }
  const isSound = new Set<string | null>([null]);
  turns.forEach((each, at) => {
    const walked = new Set<string>();
    for (let next: string | null = each.id; next !== null && !isSound.has(next);) {
      const parent = parents.get(next);
      if (parent === undefined) {
        return refuse(`${path}.turns[${at}].parent`, "is no turn of this conversation");
      }
      if (walked.has(next)) {
        return refuse(`${path}.turns[${at}].parent`, "leads round in a circle");
      }
      walked.add(next);
      next = parent;
    }
    for (const sound of walked) {
      isSound.add(sound);
    }
  });
}

/** Each file once, and each belongs to a turn: nobody could see or delete it else. */
function checkFiles({ conversations, files }: ConversationsFile): void {
  const wanted = new Set(
    conversations.flatMap(({ turns }) =>
      turns.flatMap(({ attachments }) => attachments.map((each) => each.sha256)),
    ),
  );
  files.forEach((each, index) => {
    if (!wanted.delete(each.sha256)) {
      refuse(`files[${index}].sha256`, "is there twice, or belongs to no turn");
    }
  });
}
