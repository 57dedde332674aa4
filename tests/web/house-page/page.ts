/** A page with a real house, and an engine and an API worker that are fakes. */
import { type ApiEngine } from "../../../web/src/client/api-engine.ts";
import { type House, startHouse } from "../../../web/src/client/house.ts";
import type { CompleteEvent, HouseNews, ModelRow } from "../../../web/src/api-protocol.ts";

/** Pause between two tokens; long enough that a test can step in. */
const TOKEN_MILLISECONDS = 40;

/** What the engine of this page has been through. */
interface Seen {
  completions: number;
  tokens: number;
  aborts: number;
}

declare global {
  interface Window {
    house: House;
    /** Whether a service worker answered this page when it came. */
    cameControlled: boolean;
    seen: Seen;
    news: HouseNews[];
  }
}

const seen: Seen = { completions: 0, tokens: 0, aborts: 0 };

/** Says as many tokens as `maxTokens`, one after the other. */
const fakeEngine: Pick<ApiEngine, "models" | "complete"> = {
  models: () => Promise.resolve([{ name: "library/fake:latest" } as ModelRow]),
  complete: async ({ maxTokens }, onEvents, signal) => {
    seen.completions++;
    signal?.addEventListener("abort", () => seen.aborts++);
    for (let index = 0; index < maxTokens && signal?.aborted !== true; index++) {
      await new Promise((resolve) => setTimeout(resolve, TOKEN_MILLISECONDS));
      seen.tokens++;
      onEvents([{ kind: "token", text: `t${index} ` } as CompleteEvent]);
    }
  },
};

const query = new URL(location.href).searchParams;

window.cameControlled = navigator.serviceWorker.controller !== null;
window.seen = seen;
window.news = [];
window.house = startHouse({
  engine: () => fakeEngine as ApiEngine,
  startApiWorker: () =>
    new Worker(new URL("./fake-api-worker.ts", import.meta.url), {
      type: "module",
      // "broken": it never starts.
      name: query.get("api") ?? "",
    }),
  bundleUrl: new URL("python/", location.href).href,
  isStatic: query.get("static") !== null,
});
window.house.onNews((news) => window.news.push(news));
