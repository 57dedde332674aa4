import { describe, expect, it } from "vitest";

import { type DownloadOptions, downloadAhead, downloadFile } from "../../web/src/store/download.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { base64Of, contentDigest, piecesOf } from "../../web/src/store/pieces.ts";
import type { PieceStore } from "../../web/src/store/store.ts";
import type { Bytes } from "../../web/src/store/verify.ts";
import { patternBytes } from "./bundle-fixture.ts";
import { type Asked, FakeNetwork, broken, status } from "./fake-network.ts";

const FILE = patternBytes(1000);
const PIECE = 128;
const URLS = ["http://one/blob", "http://two/blob"];
const DIGEST = `sha256:${"0".repeat(64)}` as const;

/** The bytes that a request asked for, as [start, end). */
function asked({ range }: Asked): [number, number] {
  const [, first, last] = /bytes=(\d+)-(\d*)/.exec(range ?? "bytes=0-") ?? [];
  return [Number(first), last === "" || last === undefined ? FILE.length : Number(last) + 1];
}

async function part(request: Asked, bytes: Bytes = FILE): Promise<Response> {
  const [start, end] = asked(request);
  const hash = await crypto.subtle.digest("SHA-256", FILE.slice(start, end));
  const digest = `sha-256=:${base64Of(new Uint8Array(hash))}:`;
  const headers = { "Content-Digest": digest };
  return new Response(bytes.slice(start, end), { status: 206, headers });
}

function kept(): Promise<PieceStore> {
  return new MemoryStore().pieces(DIGEST);
}

function download(
  network: FakeNetwork,
  pieces: PieceStore | null,
  options: DownloadOptions = {},
  urls = URLS.slice(0, 1),
) {
  const all = { ...network.options, pieceBytes: PIECE, ...options };
  return downloadFile("shard", urls, FILE.length, pieces, all);
}

describe("piecesOf", () => {
  it("covers every byte once", () => {
    expect(piecesOf(0, 10)).toEqual([]);
    expect(piecesOf(10, 10)).toEqual([{ index: 0, start: 0, end: 10 }]);
    expect(piecesOf(11, 10)).toEqual([
      { index: 0, start: 0, end: 10 },
      { index: 1, start: 10, end: 11 },
    ]);
  });
});

describe("contentDigest", () => {
  const hash = base64Of(new Uint8Array(32));

  it("finds sha-256 among others", () => {
    expect(contentDigest(`sha-256=:${hash}:`)).toBe(hash);
    expect(contentDigest(`sha-512=:AAAA:, sha-256=:${hash}:`)).toBe(hash);
  });

  it.each([null, "", "sha-256=:short:", `sha-512=:${hash}:`, `xsha-256=:${hash}:`])(
    "reads nothing from %s",
    (header) => {
      expect(contentDigest(header)).toBeNull();
    },
  );
});

describe("a file in pieces", () => {
  it("comes on several connections, each piece once", async () => {
    let open = 0;
    let most = 0;
    const network = new FakeNetwork(async (request) => {
      most = Math.max(most, ++open);
      await new Promise((resolve) => setTimeout(resolve, 1));
      open--;
      return part(request);
    });
    expect(await download(network, null)).toEqual(FILE);
    expect(network.asked).toHaveLength(8);
    expect(most).toBe(4);
  });

  it("goes on where an earlier visit ended, and tells only new bytes", async () => {
    const pieces = await kept();
    const early = new FakeNetwork(part, part, part, status(403));
    await expect(download(early, pieces, { connections: 1 })).rejects.toThrow(/403/);
    expect(await pieces.indices()).toEqual([0, 1, 2]);

    const network = new FakeNetwork(part);
    const told: number[] = [];
    const bytes = await download(network, pieces, { onBytes: (at: number) => told.push(at) });
    expect(bytes).toEqual(FILE);
    expect(network.asked).toHaveLength(5);
    expect(told.at(-1)).toBe(1000 - 3 * PIECE);
  });

  it("does not take a kept piece of another length", async () => {
    const pieces = await kept();
    await pieces.put(2, new Uint8Array(0));
    const network = new FakeNetwork(part);
    expect(await download(network, pieces)).toEqual(FILE);
    expect(network.asked).toHaveLength(8);
  });

  it("fetches a damaged piece again past all caches, and only that piece", async () => {
    const flipped = FILE.slice();
    flipped[PIECE] = (flipped[PIECE] ?? 0) ^ 1;
    const network = new FakeNetwork((request) =>
      part(request, request.cache === "reload" ? FILE : flipped),
    );
    const pieces = await kept();
    expect(await download(network, pieces)).toEqual(FILE);
    const again = network.asked.filter(({ cache }) => cache === "reload");
    expect(again.map(({ range }) => range)).toEqual([`bytes=${PIECE}-${2 * PIECE - 1}`]);
    expect(await pieces.get(1)).toEqual(FILE.slice(PIECE, 2 * PIECE));
  });

  it("goes on inside a piece after a broken connection", async () => {
    const network = new FakeNetwork((request) => {
      const [start, end] = asked(request);
      const isFirst = start % PIECE === 0;
      return isFirst ? broken(FILE.slice(start, end), 50)(request) : part(request);
    });
    expect(await download(network, null, { connections: 1 })).toEqual(FILE);
  });

  it("asks another address where one lacks the file, and both where both have it", async () => {
    const network = new FakeNetwork((request) =>
      request.url.includes("one") ? new Response("no", { status: 404 }) : part(request),
    );
    expect(await download(network, null, {}, URLS)).toEqual(FILE);
    expect(network.pauses).toEqual([]);

    const both = new FakeNetwork(part);
    await download(both, null, {}, URLS);
    expect(new Set(both.asked.map(({ url }) => url))).toEqual(new Set(URLS));
  });

  it("says that it is nowhere", async () => {
    const network = new FakeNetwork(status(404));
    await expect(download(network, null, {}, URLS)).rejects.toMatchObject({
      code: "model-not-found",
    });
  });

  it("does not count attempts that bring something", async () => {
    const size = 20 * 64 * 1024;
    const large = patternBytes(size);
    const network = new FakeNetwork(({ range }) => {
      const start = Number(/bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
      return new Response(large.slice(start, start + 64 * 1024), { status: 206 });
    });
    const options = { ...network.options, pieceBytes: size };
    const bytes = await downloadFile("shard", URLS, size, null, options);
    expect(Buffer.compare(bytes, large)).toBe(0);
  });

  it("waits as long as a server asks for, within reason", async () => {
    const later = (seconds: string) => () =>
      new Response("later", { status: 429, headers: { "Retry-After": seconds } });
    const network = new FakeNetwork(later("7"), later("1e9"), later("soon"), part);
    await download(network, null, { connections: 1 });
    expect(network.pauses).toEqual([7000, 60_000, 4000]);
  });

  it("asks only our own server for digests", async () => {
    const headers: (string | null)[] = [];
    const network = new FakeNetwork(part);
    const spying: typeof fetch = (input, init) => {
      headers.push(new Headers(init?.headers).get("Want-Content-Digest"));
      return network.fetch(input, init);
    };
    await download(network, null, { fetch: spying, origin: "http://one" });
    await download(network, null, { fetch: spying, origin: "http://elsewhere" });
    expect(headers).toEqual([...Array<string>(8).fill("sha-256=1"), ...Array<null>(8).fill(null)]);
  });

  it("ends every connection when one fails for good", async () => {
    let aborted = 0;
    const network = new FakeNetwork(status(403));
    const waiting: typeof fetch = (input, init) =>
      new Headers(init?.headers).get("Range")?.startsWith("bytes=0-") === true
        ? network.fetch(input, init)
        : new Promise((_, reject) => {
            init?.signal?.addEventListener("abort", () => {
              aborted++;
              reject(new Error("aborted"));
            });
          });
    await expect(download(network, null, { fetch: waiting })).rejects.toThrow("403");
    expect(aborted).toBe(3);
  });

  it("ends right wherever a visit is cut off, at the cost of a piece of each connection", async () => {
    for (let cut = 0; cut < 50; cut++) {
      const pieces = await kept();
      const controller = new AbortController();
      let fetched = 0;
      const counting = new FakeNetwork((request) => {
        const [start, end] = asked(request);
        fetched += end - start;
        return part(request);
      });
      const early = download(counting, pieces, {
        signal: controller.signal,
        onBytes: () => {
          if (fetched >= cut * 20) {
            controller.abort();
          }
        },
      });
      await early.catch(() => undefined);
      expect(await download(counting, pieces)).toEqual(FILE);
      expect(fetched).toBeLessThanOrEqual(FILE.length + 4 * PIECE);
    }
  });
});

describe("downloadAhead", () => {
  function ahead(network: FakeNetwork, pieces: PieceStore) {
    const options = { ...network.options, pieceBytes: PIECE };
    return downloadAhead("shard", URLS.slice(0, 1), FILE.length, pieces, options);
  }

  it("leaves nothing for the download to ask for", async () => {
    const pieces = await kept();
    expect(await ahead(new FakeNetwork(part), pieces)).toBe(true);
    const network = new FakeNetwork(status(500));
    expect(await download(network, pieces)).toEqual(FILE);
    expect(network.asked).toHaveLength(0);
  });

  it("gives way where there is no room", async () => {
    const full = await kept();
    full.put = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
    expect(await ahead(new FakeNetwork(part), full)).toBe(false);
    expect(await ahead(new FakeNetwork(() => new Response(FILE)), full)).toBe(false);
  });

  it("says what a network did", async () => {
    await expect(ahead(new FakeNetwork(status(404)), await kept())).rejects.toMatchObject({
      code: "model-not-found",
    });
  });
});
