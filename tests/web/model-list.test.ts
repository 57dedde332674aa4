import { afterEach, describe, expect, it, vi } from "vitest";

import { listLayout } from "../../web/src/client/model-list.ts";

function answer(text: string): void {
  vi.stubGlobal("fetch", (url: URL) =>
    Promise.resolve(new Response(url.pathname === "/site/index.json" ? text : "?")),
  );
}

describe("the models of a static export", () => {
  afterEach(() => {
    vi.unstubAllGlobals();
  });

  it("are the rows of the layout's index that have a name", async () => {
    const row = (name: unknown) => ({ annotations: { "org.opencontainers.image.ref.name": name } });
    const manifests = [row("tiny:latest"), row("me/tuned:v1"), row(7), {}];
    answer(JSON.stringify({ schemaVersion: 2, manifests }));
    expect(await listLayout("http://host/site/")).toEqual(["tiny", "me/tuned:v1"]);
  });

  it.each(["<!doctype html>", "{}", "[]", '{"manifests":7}'])("are none in %s", async (text) => {
    answer(text);
    expect(await listLayout("http://host/site/")).toEqual([]);
  });
});
