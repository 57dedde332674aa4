/** Downloads from hosts that know no ranges, or that take small files only. */
import { describe, expect, it } from "vitest";

import { openBundle } from "../../web/src/store/bundle.ts";
import { type DownloadOptions, downloadAhead, downloadFile } from "../../web/src/store/download.ts";
import { locate } from "../../web/src/store/location.ts";
import { ANNOTATIONS, LIMITS, MEDIA_TYPES } from "../../web/src/store/manifest-types.ts";
import { parseManifest } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import type { PieceStore } from "../../web/src/store/store.ts";
import { digestOf, type Bytes } from "../../web/src/store/verify.ts";
import { bytesOf, describeFile, patternBytes } from "./bundle-fixture.ts";
import { type Asked, FakeNetwork, type Reply, broken, ranges, status } from "./fake-network.ts";

const FILE = patternBytes(1000);
const PIECE = 128;
const URL_ = "http://host/blobs/sha256/ab";
const DIGEST = `sha256:${"0".repeat(64)}` as const;

function kept(): Promise<PieceStore> {
  return new MemoryStore().pieces(DIGEST);
}

function download(network: FakeNetwork, pieces: PieceStore | null, options: DownloadOptions = {}) {
  const all = { ...network.options, pieceBytes: PIECE, ...options };
  return downloadFile("shard", [URL_], FILE.length, pieces, all);
}

/** Whatever is asked for: all of it, a few bytes at a time. */
function always(bytes: Bytes, step = 100): Reply {
  return () => {
    let sent = 0;
    return new Response(
      new ReadableStream({
        pull(controller) {
          if (sent >= bytes.length) {
            controller.close();
            return;
          }
          controller.enqueue(bytes.slice(sent, sent + step));
          sent += step;
        },
      }),
    );
  };
}

describe("a host that knows no ranges", () => {
  it.each([1, 100, 128, 999, 1000, 5000])("is asked once, in steps of %i bytes", async (step) => {
    const network = new FakeNetwork(always(FILE, step));
    const ranges = new Map<string, boolean>();
    const pieces = await kept();
    const told: number[] = [];
    const onBytes = (at: number) => told.push(at);
    expect(await download(network, pieces, { ranges, onBytes })).toEqual(FILE);
    expect(network.asked).toHaveLength(1);
    expect(ranges).toEqual(new Map([["http://host", false]]));
    expect(await pieces.indices()).toHaveLength(8);
    expect(told.at(-1)).toBe(1000);
    expect(told).toEqual(told.toSorted((a, b) => a - b));
  });

  it("is not asked for parts again", async () => {
    const network = new FakeNetwork(always(FILE));
    const ranges = new Map([["http://host", false]]);
    expect(await download(network, null, { ranges })).toEqual(FILE);
    expect(network.asked.map(({ range }) => range)).toEqual([null]);
  });

  it("sends to disk without any of it in memory twice", async () => {
    const network = new FakeNetwork(always(FILE));
    const pieces = await kept();
    const options = { ...network.options, pieceBytes: PIECE, ranges: new Map<string, boolean>() };
    expect(await downloadAhead("shard", [URL_], FILE.length, pieces, options)).toBe(true);
    expect(await download(network, pieces)).toEqual(FILE);
    expect(network.asked).toHaveLength(1);
  });

  it("is read on when several connections have asked it at once", async () => {
    const network = new FakeNetwork(always(FILE));
    expect(await download(network, null)).toEqual(FILE);
    expect(network.asked.every(({ range }) => range !== null)).toBe(true);
  });

  it("costs what came after the last whole piece when the line breaks", async () => {
    const network = new FakeNetwork(broken(FILE, 300), always(FILE));
    const puts: number[] = [];
    const pieces = await kept();
    const put = pieces.put.bind(pieces);
    pieces.put = (index, bytes) => {
      puts.push(index);
      return put(index, bytes);
    };
    const ranges = new Map([["http://host", false]]);
    expect(await download(network, pieces, { ranges })).toEqual(FILE);
    expect(puts).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
    expect(network.asked).toHaveLength(2);
  });

  it("is left alone when the end of the file is here already", async () => {
    const pieces = await kept();
    for (const index of [2, 3, 4, 5, 6, 7]) {
      await pieces.put(index, FILE.slice(index * PIECE, (index + 1) * PIECE));
    }
    const told: number[] = [];
    const network = new FakeNetwork(always(FILE));
    const options = { ranges: new Map([["http://host", false]]) };
    const onBytes = (at: number) => told.push(at);
    expect(await download(network, pieces, { ...options, onBytes })).toEqual(FILE);
    expect(told.at(-1)).toBe(2 * PIECE);
  });

  it("is refused when it sends more than was promised, and believed when it sends all", async () => {
    const ranges = new Map([["http://host", false]]);
    const longer = new FakeNetwork(always(patternBytes(1001), 1));
    await expect(download(longer, null, { ranges })).rejects.toThrow("longer than the manifest");
    expect(longer.asked).toHaveLength(1);
    expect(await download(new FakeNetwork(always(FILE, 1)), null, { ranges })).toEqual(FILE);
  });

  it("is given up when the file stays short", async () => {
    const network = new FakeNetwork(always(FILE.slice(0, 100)));
    await expect(
      download(network, null, { ranges: new Map([["http://host", false]]) }),
    ).rejects.toThrow(/\(11 attempts\): .*100 of 1000 bytes/);
  });

  it("is let go at once when the visitor stops", async () => {
    for (const options of [{}, { ranges: new Map([["http://host", false]]) }]) {
      const controller = new AbortController();
      const network = new FakeNetwork(always(FILE, 10));
      const done = download(network, null, {
        ...options,
        signal: controller.signal,
        onBytes: (at) => {
          if (at > 200) {
            controller.abort();
          }
        },
      });
      await expect(done).rejects.toMatchObject({ code: "aborted" });
    }
  });

  it("is let go when there is no room", async () => {
    const full = await kept();
    full.put = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
    const network = new FakeNetwork(always(FILE));
    const options = { ...network.options, pieceBytes: PIECE, ranges: new Map<string, boolean>() };
    expect(await downloadAhead("shard", [URL_], FILE.length, full, options)).toBe(false);
    expect(network.asked).toHaveLength(1);
  });
});

describe("a host of which nothing is known", () => {
  it("is asked on one connection first, then on four", async () => {
    let open = 0;
    const opened: number[] = [];
    const network = new FakeNetwork(async (request) => {
      opened.push(++open);
      await new Promise((resolve) => setTimeout(resolve, 1));
      open--;
      return ranges(FILE)(request);
    });
    const known = new Map<string, boolean>();
    expect(await download(network, null, { ranges: known })).toEqual(FILE);
    expect(opened[0]).toBe(1);
    expect(opened[1]).toBeLessThanOrEqual(2);
    expect(Math.max(...opened)).toBe(4);
    expect(known).toEqual(new Map([["http://host", true]]));
  });

  it("may fail at once", async () => {
    const network = new FakeNetwork(status(403));
    await expect(download(network, null, { ranges: new Map() })).rejects.toThrow("403");
    expect(network.asked).toHaveLength(1);
  });
});

describe("a file that lies in pieces", () => {
  /** Pieces are files; nothing else is there. */
  function pieces({ url, range }: Asked): Response {
    const index = Number(/\.(\d{3,})$/.exec(url)?.[1] ?? NaN);
    if (Number.isNaN(index) || index > 7) {
      return new Response("no", { status: 404 });
    }
    const bytes = FILE.slice(index * PIECE, (index + 1) * PIECE);
    const start = Number(/bytes=(\d+)-$/.exec(range ?? "bytes=0-")?.[1]);
    return new Response(bytes.slice(start), { status: range === null ? 200 : 206 });
  }

  it("comes by plain requests, one for each", async () => {
    const network = new FakeNetwork(pieces);
    const ranges = new Map<string, boolean>();
    expect(await download(network, await kept(), { isInPieces: true, ranges })).toEqual(FILE);
    expect(network.asked.map(({ url }) => url).toSorted()).toEqual(
      [0, 1, 2, 3, 4, 5, 6, 7].map((index) => `${URL_}.00${index}`),
    );
    expect(network.asked.every(({ range }) => range === null)).toBe(true);
    expect(ranges.size).toBe(0);
  });

  it("goes on inside a piece, where the host can", async () => {
    let count = 0;
    const network = new FakeNetwork((asked) => {
      if (count++ > 0) {
        return pieces(asked);
      }
      return broken(FILE.slice(0, PIECE), 50)(asked);
    });
    expect(await download(network, null, { isInPieces: true, connections: 1 })).toEqual(FILE);
    expect(network.asked.slice(0, 2).map(({ range }) => range)).toEqual([null, "bytes=50-"]);
  });

  it("says which blob lacks a piece", async () => {
    const network = new FakeNetwork((asked) =>
      asked.url.endsWith(".003") ? new Response("no", { status: 404 }) : pieces(asked),
    );
    await expect(download(network, null, { isInPieces: true })).rejects.toMatchObject({
      code: "model-not-found",
    });
  });

  it("is refused when a piece is longer than it may be", async () => {
    const network = new FakeNetwork(() => new Response(FILE.slice(0, PIECE + 1)));
    await expect(download(network, null, { isInPieces: true })).rejects.toThrow("longer than");
  });
});

describe("an export for hosts that take small files only", () => {
  it("has its large blobs in pieces, and the others whole", async () => {
    const large = patternBytes(LIMITS.manifestBytes + 1);
    const small = patternBytes(LIMITS.manifestBytes);
    const manifest = bytesOf({
      schemaVersion: 2,
      config: await describeFile("a.bin", MEDIA_TYPES.shard, large),
      layers: [await describeFile("b.bin", MEDIA_TYPES.shard, small)],
    });
    const index = bytesOf({ schemaVersion: 2, manifests: [] });
    const row = {
      mediaType: MEDIA_TYPES.index,
      digest: await digestOf(index),
      size: index.byteLength,
      annotations: { [ANNOTATIONS.refName]: "tiny:latest" },
    };
    const layout = {
      schemaVersion: 2,
      manifests: [row],
      annotations: { [ANNOTATIONS.maxFile]: String(LIMITS.manifestBytes) },
    };
    const files = new Map<string, Bytes>([
      ["index.json", bytesOf(layout)],
      [`blobs/sha256/${row.digest.slice(7)}`, index],
    ]);
    const { config, layers } = parseManifest(manifest);
    const [layer] = layers;
    const largeName = `blobs/sha256/${config.digest.slice(7)}`;
    files.set(`${largeName}.000`, large.slice(0, 4 * 1024 * 1024));
    files.set(`${largeName}.001`, large.slice(4 * 1024 * 1024));
    files.set(`blobs/sha256/${layer?.digest.slice(7) ?? ""}`, small);
    const network = new FakeNetwork(({ url }) => {
      const bytes = files.get(url.slice("http://host/site/".length));
      return bytes === undefined ? new Response("no", { status: 404 }) : new Response(bytes);
    });
    const options = { ...network.options, keeping: null, meter: new ByteMeter(() => 0) };
    const source = {
      kind: "layout",
      baseUrl: "http://host/site",
      reference: "tiny:latest",
    } as const;
    const bundle = openBundle(locate(source), options);
    await bundle.readIndex();
    expect((await bundle.readFile(config)).byteLength).toBe(large.byteLength);
    if (layer !== undefined) {
      expect((await bundle.readFile(layer)).byteLength).toBe(small.byteLength);
    }
    expect(
      network.asked.map(({ url }) => url.slice("http://host/site/".length)).toSorted(),
    ).toEqual([...files.keys()].toSorted());
  });
});
