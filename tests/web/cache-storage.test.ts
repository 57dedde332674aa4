/** What browsers keep models in whose file system cannot be written to as we write. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { openBundle } from "../../web/src/store/bundle.ts";
import { CacheStore } from "../../web/src/store/cache-storage.ts";
import { locate } from "../../web/src/store/location.ts";
import { MEDIA_TYPES, parseManifest } from "../../web/src/store/manifest.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import type { BlobStore } from "../../web/src/store/store.ts";
import { type Bytes, type Digest, type Promised, digestOf } from "../../web/src/store/verify.ts";
import { SHARD, bytesOf, manifestJson, patternBytes } from "./bundle-fixture.ts";
import { FakeCaches } from "./fake-caches.ts";
import { FakeNetwork, type Reply, broken, ranges, status } from "./fake-network.ts";
import { ONE_TAB } from "./fake-tabs.ts";

const ONE = patternBytes(1000);
const OTHER = patternBytes(1001);
const PIECE_BYTES = 128;

let browser: FakeCaches;

beforeEach(() => {
  browser = new FakeCaches();
  vi.stubGlobal("caches", browser);
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** The store as a visit finds it; nothing is left in memory of the visit before. */
async function visit(): Promise<CacheStore> {
  const store = await CacheStore.open();
  if (store === null) {
    throw new Error("there is a cache, and no store in it");
  }
  return store;
}

/** In two chunks. @param fails whether it breaks between them. */
function stream(bytes: Bytes, fails = false): ReadableStream<Bytes> {
  const half = bytes.length >> 1;
  const chunks = [bytes.slice(0, half), bytes.slice(half)];
  return new ReadableStream({
    pull(controller) {
      const chunk = chunks.shift();
      if (chunk === undefined) {
        controller.close();
      } else if (fails && chunks.length === 0) {
        controller.error(new TypeError("connection reset"));
      } else {
        controller.enqueue(chunk);
      }
    },
  });
}

async function named(bytes: Bytes): Promise<Promised> {
  return { digest: await digestOf(bytes), size: bytes.byteLength };
}

async function shardFile() {
  const manifest = parseManifest(bytesOf(await manifestJson()));
  const file = manifest.layers.find(({ mediaType }) => mediaType === MEDIA_TYPES.shard);
  if (file === undefined) {
    throw new Error("the fixture has no shard");
  }
  return file;
}

function open(store: BlobStore, ...replies: Reply[]) {
  const network = new FakeNetwork(...replies);
  const meter = new ByteMeter(() => 0);
  const keeping = {
    store,
    shelf: new Shelf(store, ONE_TAB, () => 0),
    room: () => Promise.resolve({ quotaBytes: Infinity, usedBytes: 0 }),
    using: ONE_TAB.using.bind(ONE_TAB),
  };
  const source = { kind: "registry", baseUrl: "http://host/", repository: "library/tiny" } as const;
  const location = locate({ ...source, reference: "latest" });
  const options = { ...network.options, keeping, meter, pieceBytes: PIECE_BYTES };
  return { network, meter, bundle: openBundle(location, options) };
}

describe("CacheStore", () => {
  it.each([
    ["has no Cache API", undefined],
    ["lets nobody in", { open: () => Promise.reject(new DOMException("no", "SecurityError")) }],
  ])("is not there where the browser %s", async (_, caches) => {
    vi.stubGlobal("caches", caches);
    expect(await CacheStore.open()).toBeNull();
  });

  it.each([
    ["bytes", (bytes: Bytes) => bytes],
    ["a stream", (bytes: Bytes) => stream(bytes)],
  ])("keeps %s for the next visit, under their digest", async (_, content) => {
    const { digest } = await named(ONE);
    await (await visit()).put(digest, content(ONE));
    const store = await visit();
    expect(await store.get(digest)).toEqual(ONE);
    const file = await store.open(digest);
    expect(new Uint8Array((await file?.arrayBuffer()) ?? new ArrayBuffer(0))).toEqual(ONE);
    const { digest: missing } = await named(OTHER);
    expect([await store.get(missing), await store.open(missing)]).toEqual([null, null]);
  });

  it("forgets a blob, and nothing where there is none", async () => {
    const [one, other] = [await named(ONE), await named(OTHER)];
    const store = await visit();
    await store.put(one.digest, ONE);
    await store.put(other.digest, OTHER);
    await store.delete(one.digest);
    await store.delete(one.digest);
    expect(await (await visit()).list()).toEqual([
      { digest: other.digest, bytes: OTHER.length, isWhole: true },
    ]);
  });

  it("leaves nothing half-written behind, and what was there as it was", async () => {
    const { digest } = await named(ONE);
    const store = await visit();
    await expect(store.put(digest, stream(ONE, true))).rejects.toThrow("connection reset");
    expect(await store.list()).toEqual([]);
    await store.put(digest, ONE);
    await expect(store.put(digest, stream(OTHER, true))).rejects.toThrow("connection reset");
    expect(await store.get(digest)).toEqual(ONE);
  });

  it("says that there is no room, as the file system does", async () => {
    browser.quotaBytes = ONE.length;
    const store = await visit();
    await store.put((await named(ONE)).digest, ONE);
    await expect(store.put((await named(OTHER)).digest, OTHER)).rejects.toMatchObject({
      name: "QuotaExceededError",
    });
    expect(await store.list()).toHaveLength(1);
  });

  it("lists blobs, and neither its records nor what others put there", async () => {
    const store = await visit();
    const { digest } = await named(ONE);
    await store.put(digest, ONE);
    await store.put((await named(OTHER)).digest, OTHER);
    await store.writeRecords(bytesOf("{}"));
    const [cache] = await Promise.all(
      ["transom-blobs-v1", "another"].map((name) => browser.open(name)),
    );
    await cache?.put("/blobs/sha256/short", new Response("x"));
    // In a folder whose name is as long as that of blobs.
    await cache?.put(`otherdir/${digest.slice("sha256:".length)}`, new Response("x"));
    await store.removeStrays();
    expect((await store.list()).map(({ bytes }) => bytes)).toEqual([ONE.length, OTHER.length]);
  });

  it("keeps the records for the next visit, the last ones", async () => {
    const store = await visit();
    expect(await store.readRecords()).toBeNull();
    await store.writeRecords(bytesOf("first"));
    await store.writeRecords(bytesOf("second"));
    expect(await (await visit()).readRecords()).toEqual(bytesOf("second"));
  });
});

describe("models on the Cache API", () => {
  it("share their blobs, and go without taking along what others need", async () => {
    const store = await visit();
    const shelf = async () => new Shelf(await visit(), ONE_TAB, () => 0);
    const shared = await named(SHARD);
    const [one, other] = [await named(ONE), await named(OTHER)];
    for (const bytes of [SHARD, ONE, OTHER]) {
      await store.put(await digestOf(bytes), bytes);
    }
    await (await shelf()).use({ id: "one", name: "ONE" }, [shared, one]);
    await (await shelf()).use({ id: "other", name: "OTHER" }, [shared, other]);
    expect(await (await shelf()).sizes()).toMatchObject([
      { id: "one", storedBytes: 1512, sharedBytes: 512 },
      { id: "other", storedBytes: 1513, sharedBytes: 512 },
    ]);
    expect(await (await shelf()).forget("one")).toBe(1000);
    await (await shelf()).sweep();
    expect(await digests(store)).toEqual(new Set([shared.digest, other.digest]));
    expect(await (await shelf()).forget("other")).toBe(1513);
    expect(await store.list()).toEqual([]);
  });

  it("come once, without pieces, and then from there", async () => {
    const file = await shardFile();
    const first = open(await visit(), ranges(SHARD));
    expect(await first.bundle.fetchAhead(file)).toBe(false);
    expect(await first.bundle.readFile(file)).toEqual(SHARD);
    expect(first.meter.figures()).toMatchObject({ bytesDownloaded: 512, bytesFromCache: 0 });

    const second = open(await visit(), status(500));
    expect(await second.bundle.readFile(file)).toEqual(SHARD);
    const opened = await second.bundle.openFile(file);
    expect(opened.size).toBe(SHARD.length);
    expect(second.network.asked).toEqual([]);
    expect(second.meter.figures()).toMatchObject({ bytesDownloaded: 0 });
  });

  it("start a file over that was cut, for nothing is kept of it", async () => {
    const file = await shardFile();
    const cut = open(await visit(), ranges(SHARD), broken(SHARD, 10), status(404));
    await expect(cut.bundle.readFile(file)).rejects.toThrow();
    expect(await (await visit()).list()).toEqual([]);

    const next = open(await visit(), ranges(SHARD));
    expect(await next.bundle.readFile(file)).toEqual(SHARD);
    expect(next.meter.figures()).toMatchObject({ bytesDownloaded: 512, bytesFromCache: 0 });
  });

  it("are not believed when they have rotted", async () => {
    const file = await shardFile();
    const rotten = SHARD.map((byte, index) => (index === 300 ? byte ^ 1 : byte));
    await (await visit()).put(file.digest, rotten);
    const { bundle } = open(await visit(), ranges(SHARD));
    expect(await bundle.readFile(file)).toEqual(SHARD);
    expect(await (await visit()).get(file.digest)).toEqual(SHARD);
  });
});

async function digests(store: BlobStore): Promise<Set<Digest>> {
  return new Set((await store.list()).map(({ digest }) => digest));
}
