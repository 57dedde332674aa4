/** What leaves a conversation that is larger than the context window. Pure. */
import { TransomError } from "../errors.ts";
import type { GenerateRequest } from "../protocol.ts";

export interface Fitted {
  tokenIds: number[];
  /** How many were left out. */
  dropped: number;
}

/**
 * The tokens of a request that go into a window: all, or by its policy the first `keepTokens` and
 * the newest, with room left for the answer: `maxTokens`, but no more than a quarter of the window.
 *
 * @throws TransomError `context-overflow` where the policy is "error" or the kept ones alone are
 *   too many.
 */
export function fitPrompt(request: GenerateRequest, window: number): Fitted {
  const { promptTokenIds, answeredTokenIds = [], overflow = "error", keepTokens = 0 } = request;
  const tokenIds = [...promptTokenIds, ...answeredTokenIds];
  if (overflow === "error") {
    requireRoom(tokenIds.length, window);
  }
  if (tokenIds.length < window) {
    return { tokenIds, dropped: 0 };
  }
  const room = Math.min(request.maxTokens, Math.ceil(window / 4));
  const newest = window - room - keepTokens;
  if (newest < 1) {
    throw new TransomError(
      "context-overflow",
      `The first message has ${keepTokens} tokens; this model can hold ${window}, ` +
        "and an answer needs some of them. Shorten that message.",
    );
  }
  return keepFirstAndNewest(tokenIds, keepTokens, newest);
}

/**
 * After that many tokens there must be a place for one more.
 *
 * @throws TransomError `context-overflow` naming both numbers.
 */
export function requireRoom(tokens: number, window: number): void {
  if (tokens >= window) {
    throw new TransomError(
      "context-overflow",
      `The conversation has ${tokens} tokens; ` +
        `this model can hold ${window}. Start a new chat.`,
    );
  }
}

/** What is left of a full window's tokens once the older half behind `keepTokens` is forgotten. */
export function shift(tokenIds: readonly number[], keepTokens: number): Fitted {
  const behind = tokenIds.length - keepTokens;
  return keepFirstAndNewest(tokenIds, keepTokens, Math.ceil(behind / 2));
}

function keepFirstAndNewest(tokenIds: readonly number[], first: number, newest: number): Fitted {
  const kept = [...tokenIds.slice(0, first), ...tokenIds.slice(tokenIds.length - newest)];
  return { tokenIds: kept, dropped: tokenIds.length - kept.length };
}
