/** What the chat needs of others. Types only. */
import type { ApiClient } from "../client/api-client.ts";
import type { Retrieval } from "../documents/types.ts";
import type { Approve, ToolBox } from "../tools/types.ts";
import type { Conversation, Id, Source, Turn } from "./types.ts";

/** As it is kept, with all its turns. */
export interface StoredConversation {
  conversation: Conversation;
  turns: readonly Turn[];
}

/** Where turns are kept; nothing here waits for it but reading. */
export interface ChatStore {
  /** Null: there is none. Turns that nobody writes any more are "interrupted". */
  read: (id: Id) => Promise<StoredConversation | null>;
  keepConversation: (conversation: Conversation) => void;
  /** Fields of one that is kept. The others stay as they are, whoever changed them. */
  changeConversation: (id: Id, about: Partial<Conversation>) => void;
  /** Now and then while it streams, at once when it has ended. */
  keepTurn: (turn: Turn) => void;
  /** This page writes to it until `end`. */
  begin: (conversation: Id) => void;
  end: (conversation: Id) => void;
}

export interface Partner {
  model: string;
  /** Tokens; null where nobody told. */
  contextWindowSize: number | null;
}

export interface ChatOptions {
  client: Pick<ApiClient, "complete">;
  store: ChatStore;
  tools: ToolBox;
  approve: Approve;
  retrieval: Retrieval;
  /** `data:` URLs of images, by sha256. */
  readImage: (sha256: string) => Promise<string | null>;
  contextOf: (sources: readonly Source[]) => string;
  /** A conversation's title, from its first question. */
  titleOf: (text: string) => string;
  /** The model that is asked; null while there is none. */
  partner: () => Partner | null;
  /** Called before a picture is next drawn. */
  schedule: (callback: () => void) => void;
}
