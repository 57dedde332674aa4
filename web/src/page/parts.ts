/** What the page is made of, put together once. */
import type { ReadonlySignal } from "@preact/signals";

import { Chat } from "../chat/chat.ts";
import { titleOf } from "../chat/title.ts";
import { ApiClient } from "../client/api-client.ts";
import { bundleUrl } from "../client/start-engine.ts";
import { Abilities } from "./abilities.ts";
import { addressOf, type Host } from "./address.ts";
import { Approvals } from "./approvals.ts";
import { Desk } from "./desk.ts";
import { Kept } from "./kept.ts";
import { type ModelKnowledge, knowledgeOf } from "./model-knowledge.ts";
import { createModels } from "./models/models-state.ts";
import type { Models } from "./models/models-types.ts";

export interface Parts {
  desk: Desk;
  kept: Kept;
  chat: Chat;
  abilities: Abilities;
  approvals: Approvals;
  knowledge: ReadonlySignal<ModelKnowledge>;
  /** Made when it is first asked for: downloads that were left go on then. */
  models: () => Models;
}

export function createParts(host: Host): Parts {
  const desk = new Desk(host);
  const kept = new Kept();
  const client = new ApiClient(document.baseURI, desk.fetch);
  const abilities = new Abilities({
    database: kept.database,
    client,
    fetch: desk.fetch,
    bundleUrl,
  });
  const approvals = new Approvals();
  const knowledge = knowledgeOf(desk);
  const chat = new Chat({
    client,
    store: kept.store,
    tools: abilities.tools,
    approve: approvals.ask,
    retrieval: abilities.retrieval,
    readImage: (sha256) => abilities.files.imageUrl(sha256),
    contextOf: abilities.contextOf,
    titleOf,
    partner: () => {
      const opened = desk.opened.value;
      return opened === null || opened.task === "embedding"
        ? null
        : { model: opened.name, contextWindowSize: knowledge.value.contextTokens || null };
    },
    schedule: beforeNextPicture,
  });
  let models: Models | null = null;
  return {
    desk,
    kept,
    chat,
    abilities,
    approvals,
    knowledge,
    models: () =>
      (models ??= createModels({
        engine: desk.engine,
        catalogue: desk.catalogue,
        baseUrl: document.baseURI,
        host,
        settings: kept.settings,
        speeds: kept.speeds,
        addressOf: (id) => addressOf(id, new URL(location.href)),
        load: (request, onProgress) => desk.load(request, onProgress),
      })),
  };
}

/** A tab in the background draws no pictures, and its answers go on. */
function beforeNextPicture(callback: () => void): void {
  if (document.hidden) {
    setTimeout(callback, 100);
  } else {
    requestAnimationFrame(callback);
  }
}
