import { describe, expect, it } from "vitest";

import {
  type Surroundings,
  findPlace,
  keepWanted,
  readWanted,
} from "../../web/src/client/place.ts";

/** A page with an adapter and a server, apart from what a test says. */
function page(query = "", change: Partial<Surroundings> = {}): Surroundings {
  const kept = new Map<string, string>();
  return {
    address: new URL(`http://host/app/${query}`),
    scope: "http://host/app/",
    isStatic: false,
    gpu: { requestAdapter: () => Promise.resolve({}) } as unknown as GPU,
    storage: {
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => kept.set(key, value),
    },
    fetch: () => Promise.resolve(Response.json({ status: "ok" })),
    ...change,
  };
}

describe("findPlace", () => {
  it("finds adapter and server, and wants what is best", async () => {
    expect(await findPlace(page())).toEqual({ wanted: "auto", hasWebGpu: true, hasServer: true });
  });

  it("asks beside the page whether a server is there", async () => {
    const asked: string[] = [];
    const fetch = (url: unknown) => {
      asked.push(String(url));
      return Promise.reject(new TypeError("down"));
    };
    expect((await findPlace(page("", { fetch }))).hasServer).toBe(false);
    expect((await findPlace(page("", { fetch, isStatic: true }))).hasServer).toBe(false);
    expect(asked).toEqual(["http://host/app/healthz"]);
  });

  it.each([
    ["a file server's 404", () => new Response("<p>", { status: 404 })],
    ["a page for every address", () => new Response("<p>")],
    ["somebody else's health", () => Response.json({ healthy: true })],
    ["null", () => Response.json(null)],
  ])("takes %s for no server", async (_, answer) => {
    const { hasServer } = await findPlace(page("", { fetch: () => Promise.resolve(answer()) }));
    expect(hasServer).toBe(false);
  });

  it.each([
    ["no WebGPU", "", undefined],
    ["no adapter", "", { requestAdapter: () => Promise.resolve(null) }],
    ["an adapter that fails", "", { requestAdapter: () => Promise.reject(new Error("driver")) }],
    ["an address that says so", "?engine=cpu", { requestAdapter: () => Promise.resolve({}) }],
  ])("knows no adapter with %s", async (_, query, gpu) => {
    const place = await findPlace(page(query, { gpu: gpu as unknown as GPU }));
    expect(place.hasWebGpu).toBe(false);
  });
});

describe("wanted", () => {
  it("is what was kept, unless the address says something", () => {
    const { storage } = page();
    keepWanted("server", storage);
    expect(readWanted(page("", { storage }))).toBe("server");
    expect(readWanted(page("?where=browser", { storage }))).toBe("browser");
    expect(readWanted(page("?where=auto", { storage }))).toBe("auto");
    expect(() => readWanted(page("?where=moon"))).toThrow("where is auto or browser or server");
  });

  it("is best where a browser keeps nothing, or something strange", () => {
    const deny = () => {
      throw new DOMException("denied", "SecurityError");
    };
    const storage = { getItem: deny, setItem: deny };
    keepWanted("server", storage);
    expect(readWanted(page("", { storage }))).toBe("auto");
    expect(readWanted(page("", { storage: { ...storage, getItem: () => "moon" } }))).toBe("auto");
  });
});
