/** Conversations by chance, with everything in them that the types allow. */
import { createHash } from "node:crypto";

import type { Exported } from "../../../web/src/chat/export.ts";
import type { ReadConversation } from "../../../web/src/chat/keeper.ts";
import type { Attachment, Conversation, Turn } from "../../../web/src/chat/types.ts";
import { conversation, turn } from "./conversations.ts";

export function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function anyConversations(random: () => number): Exported {
  const below = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(...values: readonly T[]): T => values[below(values.length)] as T;
  const someText = () =>
    Array.from({ length: below(30) }, () =>
      pick("a", " ", "\n", "ß", "😀", "\u0000", '"', "\\", "م", "\ud800"),
    ).join("");
  const files = new Map<string, Exported["files"][number]>();
  const anAttachment = (): Attachment => {
    const bytes = new Uint8Array(below(100_000))
      .map((_, at) => (at * at) >> 3)
      .fill(below(256), 0, 9);
    const about = {
      id: someText() + "x",
      name: someText(),
      bytes: bytes.length,
      sha256: sha256(bytes),
    };
    const mediaType = pick("", "text/plain", "image/png");
    files.set(about.sha256, { sha256: about.sha256, mediaType, bytes });
    return pick<Attachment>(
      { ...about, mediaType, kind: "image", width: below(9), height: below(9) },
      { ...about, mediaType, kind: "document", characters: below(9), pages: below(9) },
    );
  };
  const aTurn = (id: string, owner: string, parents: readonly string[]): Turn =>
    turn({
      id,
      conversation: owner,
      parent: pick(null, ...parents),
      createdAt: below(1e12),
      role: pick("user", "assistant", "tool"),
      text: someText(),
      reasoning: someText(),
      ...pick({}, { reasoningSeconds: random() * 99 }),
      attachments: Array.from({ length: pick(0, 0, 1, 2) }, anAttachment),
      calls: Array.from({ length: below(3) }, () => ({
        id: "1",
        name: "n",
        arguments: someText(),
      })),
      result: pick(null, {
        callId: "1",
        name: "n",
        isError: pick(true, false),
        text: someText(),
        views: [
          { kind: "text", text: someText() },
          { kind: "image", mediaType: "image/png", base64: "AAAA" },
        ],
      }),
      sources: [
        { attachment: "x", name: someText(), page: below(9), text: someText(), score: random() },
      ],
      state: pick("done", "stopped", "interrupted", "length", "failed"),
      error: pick(null, someText()),
      ...pick({}, { errorCode: "network" as const }),
      figures: pick(null, {
        model: "m",
        servedBy: pick("browser", "server"),
        why: someText(),
        ...pick({}, { whyCode: "not-reached" }),
        leftOutTurns: below(9),
        promptTokens: below(9),
        cachedTokens: below(9),
        completionTokens: below(9),
        timeToFirstTokenSeconds: random(),
        decodeTokensPerSecond: random() * 1e-9,
      }),
    });
  const conversations = Array.from({ length: below(4) }, (_, index): ReadConversation => {
    const id = `c${index}`;
    const ids: string[] = [];
    const turns = Array.from({ length: below(12) }, (__, at) => {
      const made = aTurn(`${id} t${at}`, id, ids);
      ids.push(made.id);
      return made;
    });
    const about: Partial<Conversation> = {
      id,
      title: someText(),
      createdAt: below(1e12),
      updatedAt: below(1e12),
      isPinned: pick(true, false),
      model: pick(null, someText()),
      preset: pick(null, "p"),
      system: someText(),
      parameters: pick({}, { temperature: random(), num_predict: -1, stop: [someText()] }),
      tools: pick([], ["clock"]),
      overflow: pick("ask", "drop-oldest"),
      leaf: pick(null, ...ids),
    };
    return { conversation: conversation(about), turns };
  });
  const presets = [{ id: "p", name: someText(), modelfile: someText(), updatedAt: 5 }];
  return { conversations, files: [...files.values()], presets };
}
