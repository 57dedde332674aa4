/**
 * Conversations as data: what is kept, exported, and shown.
 *
 * A conversation is a tree of turns. Editing a question or asking again adds a sibling; what shows is
 * the branch from the root to `leaf`. Each turn is one message of OpenAI's chat API, so a branch is a
 * request.
 */
import type { ErrorCode } from "../errors.ts";

export type Id = string;

/** Milliseconds since 1970. */
export type Time = number;

export interface Conversation {
  id: Id;
  /** "" until somebody or the first question gives one. */
  title: string;
  createdAt: Time;
  updatedAt: Time;
  isPinned: boolean;
  /** As the API calls it; null: none was asked yet. */
  model: string | null;
  /** The preset that it began with; what it said is copied below. */
  preset: Id | null;
  system: string;
  parameters: ChatParameters;
  /** Names of the tools that the model may call. */
  tools: readonly string[];
  overflow: OverflowPolicy;
  /** The last turn of the branch that shows; null: nothing was said. */
  leaf: Id | null;
}

/** What a request says beyond its messages, by Ollama's names; what is left out is the model's own choice. */
export interface ChatParameters {
  temperature?: number;
  top_p?: number;
  top_k?: number;
  min_p?: number;
  typical_p?: number;
  repeat_penalty?: number;
  repeat_last_n?: number;
  presence_penalty?: number;
  frequency_penalty?: number;
  seed?: number;
  /** Tokens of an answer at most; -1: no limit but the context window. */
  num_predict?: number;
  stop?: readonly string[];
}

/**
 * A conversation that does not fit into the context window: say so and let the person decide
 * ("ask"), or leave out the oldest turns, which the page shows ("drop-oldest"). Never silently.
 */
export type OverflowPolicy = "ask" | "drop-oldest";

export type Role = "user" | "assistant" | "tool";

export interface Turn {
  id: Id;
  conversation: Id;
  /** null: a first question. */
  parent: Id | null;
  createdAt: Time;
  role: Role;
  text: string;
  /** What the model thought before it spoke; assistant only. */
  reasoning: string;
  /** How long that took; left out where nobody measured. */
  reasoningSeconds?: number;
  /** Images and documents that came with a question. */
  attachments: readonly Attachment[];
  /** What the model wants done; assistant only. */
  calls: readonly ToolCall[];
  /** Of a tool's turn: what came back, and of which call. */
  result: ToolResult | null;
  /** Passages that the model was given, as they are cited: [1] is the first. */
  sources: readonly Source[];
  state: TurnState;
  /** What went wrong, in words; null unless "failed". */
  error: string | null;
  /** The same as a code; left out by whoever did not know it. */
  errorCode?: ErrorCode;
  /** Of an answer. */
  figures: AnswerFigures | null;
}

/**
 * "streaming" is only ever found in storage when the page went away in mid-answer: it is read as
 * "interrupted".
 */
export type TurnState = "streaming" | "done" | "stopped" | "interrupted" | "length" | "failed";

export interface AnswerFigures {
  model: string;
  servedBy: "browser" | "server";
  /** Why they, in words; "": nobody said. */
  why: string;
  /** `why` as a code, for other languages; left out where nobody said. */
  whyCode?: string;
  /** Turns before this one that the model was not given, as they did not fit. */
  leftOutTurns: number;
  promptTokens: number;
  cachedTokens: number;
  completionTokens: number;
  timeToFirstTokenSeconds: number;
  decodeTokensPerSecond: number;
}

export type Attachment = ImageAttachment | DocumentAttachment;

interface AttachmentBase {
  id: Id;
  name: string;
  mediaType: string;
  bytes: number;
  /** Hexadecimal sha256 of the file, its key in storage. */
  sha256: string;
}

export interface ImageAttachment extends AttachmentBase {
  kind: "image";
  width: number;
  height: number;
}

export interface DocumentAttachment extends AttachmentBase {
  kind: "document";
  /** Characters of its text. */
  characters: number;
  /** Of paged documents; else 0. */
  pages: number;
}

/** A passage of a document. */
export interface Source {
  attachment: Id;
  name: string;
  /** 1 is the first; 0: the document has none. */
  page: number;
  text: string;
  /** Similarity to the question, 1 is the same. */
  score: number;
}

export interface ToolCall {
  id: string;
  name: string;
  /** JSON, as the model wrote it: it may be none. */
  arguments: string;
}

export interface ToolResult {
  callId: string;
  name: string;
  isError: boolean;
  /** What the model reads. */
  text: string;
  /** What people see beside it. */
  views: readonly ToolView[];
}

export type ToolView =
  { kind: "text"; text: string } | { kind: "image"; mediaType: string; base64: string };

/** What is about to be asked. */
export interface Draft {
  text: string;
  attachments: readonly Attachment[];
}

/** A Modelfile by a name: a model with a system prompt and parameters. */
export interface Preset {
  id: Id;
  name: string;
  /** The Modelfile itself. */
  modelfile: string;
  updatedAt: Time;
}
