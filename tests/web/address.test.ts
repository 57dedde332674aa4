import { describe, expect, it } from "vitest";

import { addressOf, readAddress, readMirrors } from "../../web/src/page/address.ts";
import type { LoadRequest } from "../../web/src/protocol.ts";
import { idOf } from "../../web/src/store/open-source.ts";
import { locate } from "../../web/src/store/location.ts";

function read(query: string) {
  return readAddress(new URL(`http://host/app/${query}`));
}

function indexUrl(query: string): string {
  const request = read(query);
  return indexUrlOf(request);
}

function indexUrlOf(request: LoadRequest | null): string {
  return request === null || request.source.kind === "imported"
    ? ""
    : (locate(request.source).indexUrls[0] ?? "");
}

describe("readAddress", () => {
  it.each([
    ["?model=smollm2", "http://host/app/v2/library/smollm2/manifests/latest"],
    ["?model=me/tiny:q4_1", "http://host/app/v2/me/tiny/manifests/q4_1"],
    ["?model=SmolLM2", "http://host/app/v2/library/SmolLM2/manifests/latest"],
    ["?bundle=demo/smollm2", "http://host/app/demo/smollm2/index.json"],
    ["?bundle=/other/", "http://host/other/index.json"],
  ])("%s is at %s", (query, url) => {
    expect(indexUrl(query)).toBe(url);
  });

  it.each([
    ["?model=smollm2", "smollm2:latest"],
    ["?model=me/tiny:q4_1", "me/tiny:q4_1"],
    ["?model=127.0.0.1:5000/me/tiny", "127.0.0.1:5000/me/tiny:latest"],
  ])("%s of a static export is the row %s", (query, reference) => {
    const request = readAddress(new URL(`http://host/app/${query}`), "layout");
    expect(request?.source).toEqual({ kind: "layout", baseUrl: "http://host/app/", reference });
    expect(indexUrlOf(request)).toBe("http://host/app/index.json");
  });

  it("knows where else an export's models are, and of no others", () => {
    const mirrors = ["https://a.example/models/"];
    const read = (query: string, host: "layout" | "server") =>
      readAddress(new URL(`http://host/app/${query}`), host, mirrors)?.source;
    expect(read("?model=smollm2", "layout")).toMatchObject({ kind: "layout", mirrors });
    expect(read("?model=smollm2", "server")).not.toHaveProperty("mirrors");
    expect(read("?bundle=demo/", "layout")).not.toHaveProperty("mirrors");
  });

  it.each([
    ["https://a.example/models/ http://localhost:8000/", 2],
    ["  ", 0],
    ["nothing https://", 0],
    [null, 0],
  ])("reads mirrors from the page: %s", (content, count) => {
    const page = { querySelector: () => (content === null ? null : { content }) };
    expect(readMirrors(page as unknown as Document)).toHaveLength(count);
  });

  it("takes what the address forces", () => {
    expect(read("?model=a&variant=f32&schedule=fallback&pipelines=lazy")?.overrides).toEqual({
      variant: "f32",
      schedule: "fallback",
      pipelines: "lazy",
    });
    expect(read("?model=a&engine=cpu&threads=4")?.overrides).toEqual({ engine: "cpu", threads: 4 });
    expect(() => read("?model=a&threads=9")).toThrow("threads are 1 to 8");
    expect(() => read("?model=a&engine=gpu")).toThrow("engine is webgpu or cpu");
    expect(read("?model=a")).toEqual({ source: expect.anything() as unknown, overrides: {} });
    expect(read("?model=a&force=1&memory=2048")).toMatchObject({
      isForced: true,
      memoryBudgetBytes: 2_048_000_000,
    });
  });

  it("names no model", () => {
    expect(read("")).toBeNull();
    expect(read("?model=")).toBeNull();
  });

  it.each([
    "?model=../secret",
    "?model=a/b/c",
    "?model=..%2Fx",
    "?model=A B",
    "?model=a:",
    "?model=a&variant=f64",
    "?model=a&schedule=fast",
    "?model=a&memory=-1",
    "?model=a&memory=all",
    "?imported=../secret",
    "?imported=abc",
  ])("refuses %s", (query) => {
    expect(() => read(query)).toThrow(/not a model name|, not "/);
  });
});

describe("addressOf", () => {
  const page = new URL("http://host/app/?model=other");

  it.each([
    ["?model=smollm2", "server"],
    [`?model=${encodeURIComponent("me/tiny:q4_1")}`, "server"],
    [`?model=${encodeURIComponent("me/tiny:q4_1")}`, "layout"],
    [`?bundle=${encodeURIComponent("demo/smollm2/")}`, "server"],
    [`?imported=${"0f".repeat(32)}`, "server"],
  ] as const)("leads back to %s", (query, host) => {
    const request = readAddress(new URL(`http://host/app/${query}`), host);
    expect(request && addressOf(idOf(request.source), page)).toBe(query);
  });

  it("leads to nothing of another host", () => {
    expect(addressOf("http://other/app/v2/library/a/manifests/latest", page)).toBeNull();
  });
});
