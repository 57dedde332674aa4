/** A branch of a conversation as a request of the API. Pure. */
import type { ApiMessage, AskOptions, ContentPart } from "../client/api-client.ts";
import type { ChatParameters, Source, Turn } from "./types.ts";

export interface RequestParts {
  system: string;
  /** From the first question on. */
  branch: readonly Turn[];
  /** Turns at its beginning that are left out. */
  leftOut: number;
  /** A `data:` URL, by the sha256 of its file; null: it is not here any more. */
  imageUrl: (sha256: string) => string | null;
  /** What goes before a question whose turn has sources. */
  contextOf: (sources: readonly Source[]) => string;
}

/**
 * The messages of a branch. What failed is left out with its question, so that questions and
 * answers take turns, as templates want it.
 */
export function messagesOf({ system, branch, leftOut, ...parts }: RequestParts): ApiMessage[] {
  const messages: ApiMessage[] = system === "" ? [] : [{ role: "system", content: system }];
  const kept = branch.slice(leftOut);
  for (const [index, turn] of kept.entries()) {
    if (isLost(turn, kept[index + 1])) {
      continue;
    }
    messages.push(messageOf(turn, parts));
  }
  return messages;
}

/** Where a branch may be cut: at questions after the first one, the oldest first. */
export function cutsOf(branch: readonly Turn[]): number[] {
  return branch.flatMap(({ role }, index) => (role === "user" && index > 0 ? [index] : []));
}

/** In the words of `ApiClient`. */
export function optionsOf(parameters: ChatParameters): AskOptions {
  const { temperature, top_p: topP, top_k: topK, min_p: minP, typical_p: typicalP } = parameters;
  const { seed, stop, num_predict: most } = parameters;
  const { repeat_penalty: repeatPenalty, repeat_last_n: repeatLastN } = parameters;
  const { presence_penalty: presencePenalty, frequency_penalty: frequencyPenalty } = parameters;
  return {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(topK !== undefined && { topK }),
    ...(minP !== undefined && { minP }),
    ...(typicalP !== undefined && { typicalP }),
    ...(seed !== undefined && { seed }),
    ...(repeatPenalty !== undefined && { repeatPenalty }),
    ...(repeatLastN !== undefined && { repeatLastN }),
    ...(presencePenalty !== undefined && { presencePenalty }),
    ...(frequencyPenalty !== undefined && { frequencyPenalty }),
    ...(stop !== undefined && { stop }),
    // The API's own word for "no limit" is to say nothing.
    ...(most !== undefined && most >= 0 && { maxTokens: most }),
  };
}

/** Whether a turn says nothing to the model: an answer that failed, or a question without one. */
function isLost(turn: Turn, next: Turn | undefined): boolean {
  const isEmpty = (each: Turn) =>
    each.role === "assistant" && each.text === "" && each.calls.length === 0;
  return isEmpty(turn) || (turn.role === "user" && next !== undefined && isEmpty(next));
}

function messageOf(
  turn: Turn,
  { imageUrl, contextOf }: Pick<RequestParts, "imageUrl" | "contextOf">,
): ApiMessage {
  switch (turn.role) {
    case "user":
      return { role: "user", content: contentOf(turn, imageUrl, contextOf) };
    case "assistant":
      return {
        role: "assistant",
        content: turn.text,
        ...(turn.calls.length > 0 && {
          tool_calls: turn.calls.map(({ id, name, arguments: text }) => ({
            id,
            type: "function" as const,
            function: { name, arguments: text },
          })),
        }),
      };
    case "tool":
      return {
        role: "tool",
        tool_call_id: turn.result?.callId ?? "",
        content: turn.result?.text ?? "",
      };
  }
}

function contentOf(
  turn: Turn,
  imageUrl: RequestParts["imageUrl"],
  contextOf: RequestParts["contextOf"],
): string | ContentPart[] {
  const text = turn.sources.length === 0 ? turn.text : `${contextOf(turn.sources)}\n\n${turn.text}`;
  const images = turn.attachments.flatMap((each) => {
    const url = each.kind === "image" ? imageUrl(each.sha256) : null;
    return url === null ? [] : [{ type: "image_url" as const, image_url: { url } }];
  });
  return images.length === 0 ? text : [...images, { type: "text", text }];
}
