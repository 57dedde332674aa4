/** Conversations and turns for tests. */
import type { Attachment, Conversation, Turn } from "../../../web/src/chat/types.ts";
import { newConversation, newTurn } from "../../../web/src/chat/tree.ts";

/** Ids are given by hand, so that tests can name them. */
export function turn(about: Partial<Turn> & { id: string }): Turn {
  return newTurn({ conversation: "c", parent: null, role: "user", ...about }, 0);
}

export function conversation(about: Partial<Conversation> = {}): Conversation {
  return newConversation({ id: "c", ...about }, 0);
}

export function documentOf(sha256: string, about: Partial<Attachment> = {}): Attachment {
  return {
    id: `file ${sha256}`,
    kind: "document",
    name: "notes.txt",
    mediaType: "text/plain",
    bytes: 5,
    sha256,
    characters: 5,
    pages: 0,
    ...about,
  } as Attachment;
}
