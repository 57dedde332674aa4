import { describe, expect, it } from "vitest";

import { readAddress } from "../../web/src/page/address.ts";
import { locate } from "../../web/src/store/location.ts";

function read(query: string) {
  return readAddress(new URL(`http://host/app/${query}`));
}

function indexUrl(query: string): string {
  const request = read(query);
  return request === null ? "" : locate(request.source).indexUrl;
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
    expect(request && locate(request.source).indexUrl).toBe("http://host/app/index.json");
  });

  it("takes what the address forces", () => {
    expect(read("?model=a&variant=f32&schedule=fallback&pipelines=lazy")?.overrides).toEqual({
      variant: "f32",
      schedule: "fallback",
      pipelines: "lazy",
    });
    expect(read("?model=a")?.overrides).toEqual({});
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
  ])("refuses %s", (query) => {
    expect(() => read(query)).toThrow(/not a model name|, not "/);
  });
});
