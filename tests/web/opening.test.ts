import { describe, expect, it } from "vitest";

import type { HouseNews, Place } from "../../web/src/api-protocol.ts";
import { TransomError } from "../../web/src/errors.ts";
import { Opening, type OpeningOptions, shortName } from "../../web/src/page/opening.ts";
import type { LoadReport, LoadRequest } from "../../web/src/protocol.ts";

const BASE = "https://host/";
const REGISTRY: LoadRequest = {
  source: { kind: "registry", baseUrl: BASE, repository: "library/tiny", reference: "latest" },
  overrides: {},
};
const REPORT = { model: "tiny", engine: "webgpu", task: "chat" } as LoadReport;
const HERE: Place = { wanted: "auto", hasWebGpu: true, hasServer: true };
const THERE: Place = { wanted: "auto", hasWebGpu: false, hasServer: true };

function open(
  place: Place,
  more: { isLeading?: boolean; hasServiceWorker?: boolean; loadError?: TransomError } = {},
) {
  const { isLeading = true, hasServiceWorker = true, loadError } = more;
  const told: HouseNews[] = [];
  const listeners: ((news: HouseNews) => void)[] = [];
  let loads = 0;
  const house = {
    place,
    // As it was when the page was opened.
    placed: Promise.resolve({ ...place, wanted: "auto" }),
    ready: Promise.resolve(),
    isLeading,
    hasServiceWorker,
    onNews: (listener: (news: HouseNews) => void) => {
      listeners.push(listener);
      return () => undefined;
    },
    tell: (news: HouseNews) => told.push(news),
  } as OpeningOptions["house"];
  const asked: unknown[] = [];
  const opening = new Opening({
    house,
    hasServiceWorkers: true,
    load: () => {
      loads++;
      return loadError === undefined ? Promise.resolve(REPORT) : Promise.reject(loadError);
    },
    shownName: () => Promise.resolve(null),
    listModels: () => Promise.resolve(["tiny", "me/other:v1"]),
    baseUrl: BASE,
    fetch: (url, init) => {
      asked.push([url.href, JSON.parse(init.body as string)]);
      hear({ kind: "loaded", report: { ...REPORT, unloaded: [] } });
      return Promise.resolve(Response.json({ done: true }));
    },
    onProgress: () => undefined,
  });
  const hear = (news: HouseNews) => {
    for (const listener of listeners) {
      listener(news);
    }
  };
  hear({ kind: "leads", leader: "someone" });
  return { opening, told, asked, loads: () => loads };
}

describe("Opening", () => {
  it("loads where it leads, and tells the others", async () => {
    const { opening, told } = open(HERE);
    expect(await opening.open(REGISTRY)).toMatchObject({
      model: "tiny",
      name: "library/tiny:latest",
      engine: "webgpu",
      isInAnotherTab: false,
    });
    expect(told).toEqual([{ kind: "loaded", report: REPORT }]);
  });

  it("has the leader load where it follows", async () => {
    const { opening, asked, loads } = open(HERE, { isLeading: false });
    expect(await opening.open(REGISTRY)).toMatchObject({ model: "tiny", isInAnotherTab: true });
    expect(asked).toEqual([
      ["https://host/api/generate", { model: "library/tiny:latest", stream: false }],
    ]);
    expect(loads()).toBe(0);
  });

  it("loads nothing where the server answers", async () => {
    const { opening, loads } = open(THERE);
    expect(await opening.open(REGISTRY)).toMatchObject({ engine: "server", failure: null });
    expect(loads()).toBe(0);
    const { source } = REGISTRY;
    const other = {
      ...REGISTRY,
      source: { ...source, repository: "library/none" } as typeof source,
    };
    await expect(opening.open(other)).rejects.toMatchObject({ code: "model-not-found" });
  });

  it("turns to the server with the reason, where it may", async () => {
    const loadError = new TransomError("out-of-memory", "Too large.");
    expect(await open(HERE, { loadError }).opening.open(REGISTRY)).toMatchObject({
      engine: "server",
      failure: { code: "out-of-memory", message: "Too large." },
    });
    for (const place of [
      { ...HERE, wanted: "browser" },
      { ...HERE, hasServer: false },
    ] as const) {
      const { opening, told } = open(place, { loadError });
      await expect(opening.open(REGISTRY)).rejects.toBe(loadError);
      expect(told).toMatchObject([{ kind: "load-failed" }]);
    }
  });

  it("says so where there can be no service worker", async () => {
    const { opening } = open({ ...HERE, hasServer: false }, { hasServiceWorker: false });
    await expect(opening.open(REGISTRY)).rejects.toMatchObject({ code: "no-service-worker" });
  });

  it("leaves out of names what goes without saying", () => {
    expect(shortName("library/tiny:latest")).toBe("tiny");
    expect(shortName("me/tiny:v1")).toBe("me/tiny:v1");
  });
});
