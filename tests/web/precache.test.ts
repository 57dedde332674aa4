import { describe, expect, it, vi } from "vitest";

import { Precache } from "../../web/src/sw/precache.ts";

declare global {
  /** The DOM's types know no service workers. */
  interface ExtendableEvent extends Event {
    waitUntil(work: Promise<unknown>): void;
  }
}

const SCOPE = "http://host/chat/";
const LATER = "assets/wllama-c3.wasm";
const LOST = "assets/index-a0.js";

// What workbox asks for while it is loaded, and of each address.
vi.hoisted(() => {
  vi.stubGlobal("self", globalThis);
  vi.stubGlobal("location", new URL("http://host/chat/sw.js"));
});

describe("Precache", () => {
  it.each([LATER, LOST])("fetches %s no longer when a newer build is called", async (path) => {
    const cache = { match: () => Promise.resolve(undefined) };
    const precache = new Precache(
      { first: [["index.html", "sha256-0"]], later: [[LATER, "sha256-1"]] },
      {
        scope: SCOPE,
        caches: { open: () => Promise.resolve(cache) } as unknown as CacheStorage,
        locks: { query: () => Promise.resolve({}) },
        registration: { installing: null, waiting: null },
        fetch: (_, { signal } = {}) =>
          new Promise((_, reject) => {
            signal?.addEventListener("abort", () => {
              reject(signal.reason as Error);
            });
          }),
      },
    );
    const leaving = new AbortController();
    const event = { waitUntil: () => undefined } as unknown as ExtendableEvent;
    const answer = precache.answer(new Request(SCOPE + path), event, leaving.signal);
    setTimeout(() => {
      leaving.abort(new Error("leaving"));
    }, 20);
    await expect(answer).rejects.toThrow("leaving");
  });
});
