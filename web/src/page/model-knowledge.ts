/** What the API says of the model that is open: what it can do, and what it brings itself. */
import { type ReadonlySignal, effect, signal } from "@preact/signals";

import type { Desk } from "./desk.ts";
import { type OwnDefaults, readOwnDefaults } from "./settings/parameter-facts.ts";

export interface ModelKnowledge {
  /** null: nobody tells. */
  canSee: boolean | null;
  canCallTools: boolean | null;
  own: OwnDefaults | null;
  /** Tokens of the context window; 0: not known. */
  contextTokens: number;
}

const NOTHING: ModelKnowledge = { canSee: null, canCallTools: null, own: null, contextTokens: 0 };

/** Follows the model that is open; asks once for each. */
export function knowledgeOf(desk: Desk): ReadonlySignal<ModelKnowledge> {
  const known = signal(NOTHING);
  effect(() => {
    const opened = desk.opened.value;
    if (opened === null || opened.task === "embedding") {
      known.value = NOTHING;
      return;
    }
    const contextTokens = opened.engine === "server" ? 0 : opened.contextWindowSize;
    known.value = { ...NOTHING, contextTokens };
    void show(desk.fetch, opened.name).then((shown) => {
      if (desk.opened.peek() === opened && shown !== null) {
        known.value = { ...shown, contextTokens: contextTokens || shown.contextTokens };
      }
    });
  });
  return known;
}

async function show(fetch: Desk["fetch"], model: string): Promise<ModelKnowledge | null> {
  try {
    const response = await fetch(new URL("api/show", document.baseURI), {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model }),
    });
    const body = (await response.json()) as Record<string, unknown>;
    const list = body["capabilities"];
    const can = (what: string) => (Array.isArray(list) ? list.includes(what) : null);
    const info = (body["model_info"] ?? {}) as Record<string, unknown>;
    const tokens = info[`${String(info["general.architecture"])}.context_length`];
    return {
      canSee: can("vision"),
      canCallTools: can("tools"),
      own: readOwnDefaults(body),
      contextTokens: typeof tokens === "number" ? tokens : 0,
    };
  } catch {
    return null;
  }
}
