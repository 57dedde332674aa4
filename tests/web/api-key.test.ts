/** A server's key: where it is kept, and who gets to see it. */
import { describe, expect, it } from "vitest";

import { keepApiKey, keyedFetch, readApiKey } from "../../web/src/client/api-key.ts";
import { listModels } from "../../web/src/client/model-list.ts";

const FOLDER = "https://host/ui/";
const KEY = "trk_Az09-._~";

function storage(text: string | null = null) {
  const kept = { text };
  return {
    kept,
    getItem: () => kept.text,
    setItem: (_name: string, value: string) => void (kept.text = value),
    removeItem: () => void (kept.text = null),
  };
}

function asking(host: "server" | "layout", key: string | null = KEY) {
  const seen: [url: string, key: string | null, redirect: string | undefined][] = [];
  const fetch = keyedFetch({
    baseUrl: `${FOLDER}index.html?model=a`,
    host,
    key: () => key,
    fetch: (input, init) => {
      const given = input instanceof Request ? input : null;
      const headers = new Headers(init?.headers ?? given?.headers);
      const { href } = new URL(input instanceof Request ? input.url : input, FOLDER);
      seen.push([href, headers.get("Authorization"), init?.redirect]);
      return Promise.resolve(Response.json({ data: [{ id: "a" }] }));
    },
  });
  return { fetch, seen };
}

describe("the key", () => {
  it("is kept for later visits, and forgotten", () => {
    const place = storage();
    keepApiKey(` ${KEY}\n`, () => place);
    expect([place.kept.text, readApiKey(() => place)]).toEqual([KEY, KEY]);
    for (const none of [null, "", "  "]) {
      keepApiKey(KEY, () => place);
      keepApiKey(none, () => place);
      expect(readApiKey(() => place)).toBeNull();
    }
  });

  it("is nothing that a header could not hold", () => {
    for (const text of ["a b", "a\nb", "schlüssel", "x".repeat(1025)]) {
      const place = storage();
      expect(() => {
        keepApiKey(text, () => place);
      }).toThrow("no key");
      expect(place.kept.text).toBeNull();
      expect(readApiKey(() => storage(text))).toBeNull();
    }
    expect(readApiKey(() => storage("x".repeat(1024)))).toHaveLength(1024);
  });

  it("is none where a browser keeps nothing", () => {
    const refuses = () => {
      throw new DOMException("no", "SecurityError");
    };
    expect(readApiKey(refuses)).toBeNull();
    expect(() => {
      keepApiKey(KEY, refuses);
    }).toThrow("keeps nothing");
  });
});

describe("keyedFetch", () => {
  it("shows it to the page's own server, which sends nobody elsewhere with it", async () => {
    const { fetch, seen } = asking("server");
    await fetch("v1/models");
    await fetch(new URL("api/tags", FOLDER), { headers: { "Transom-Served-By": "server" } });
    await fetch(new Request(`${FOLDER}v1/chat/completions`, { method: "POST", body: "{}" }));
    expect(seen.map(([, key, redirect]) => [key, redirect])).toEqual(
      Array(3).fill([`Bearer ${KEY}`, "error"]),
    );
  });

  it("shows it to no other origin, folder or static host", async () => {
    const { fetch, seen } = asking("server");
    for (const url of [
      "https://elsewhere/ui/v1/models",
      "http://host/ui/v1/models",
      "https://host:444/ui/v1/models",
      "https://host.evil/ui/v1/models",
      "https://host/uix/v1/models",
      "//evil/ui/v1/models",
      "https://host/other/",
      "../v1/models",
    ]) {
      await fetch(url);
    }
    const atFiles = asking("layout");
    await atFiles.fetch("v1/models");
    await atFiles.fetch("index.json");
    expect([...seen, ...atFiles.seen].filter(([, key]) => key !== null)).toEqual([]);
    expect([...seen, ...atFiles.seen]).toHaveLength(10);
  });

  it("leaves requests alone that have their own, or where there is none", async () => {
    const { fetch, seen } = asking("server");
    await fetch("v1/models", { headers: { Authorization: "Bearer mine" } });
    const without = asking("server", null);
    await without.fetch("v1/models");
    expect(seen[0]?.slice(1)).toEqual(["Bearer mine", undefined]);
    expect(without.seen[0]?.slice(1)).toEqual([null, undefined]);
  });

  it("lists the models of a server that wants it", async () => {
    const { fetch, seen } = asking("server");
    expect(await listModels(FOLDER, fetch)).toEqual(["a"]);
    expect(seen).toEqual([[`${FOLDER}v1/models`, `Bearer ${KEY}`, "error"]]);
  });
});
