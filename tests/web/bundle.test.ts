import { describe, expect, it } from "vitest";

import { type Keeping, type OpenOptions, openBundle } from "../../web/src/store/bundle.ts";
import { type BundleReader, readAhead } from "../../web/src/store/bundle-reader.ts";
import { locate } from "../../web/src/store/location.ts";
import { type FileDescriptor, MEDIA_TYPES, REF_NAME } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import type { BlobStore } from "../../web/src/store/store.ts";
import { type Digest, digestOf } from "../../web/src/store/verify.ts";
import {
  SHARD,
  bytesOf,
  describeFile,
  indexJson,
  manifestJson,
  patternBytes,
  shardFile,
} from "./bundle-fixture.ts";
import { ONE_TAB } from "./fake-tabs.ts";
import { FakeNetwork, type Reply, status, whole } from "./fake-network.ts";

const LOCATION = locate({
  kind: "registry",
  baseUrl: "http://host/app/",
  repository: "library/tiny",
  reference: "latest",
});

const FLIPPED = SHARD.slice();
FLIPPED[100] = (FLIPPED[100] ?? 0) ^ 0x10;

function keepingOf(store: BlobStore, quotaBytes = Infinity): Keeping {
  return {
    store,
    shelf: new Shelf(store, ONE_TAB, () => 0),
    room: () => Promise.resolve({ quotaBytes, usedBytes: 0 }),
    using: (id, work) => ONE_TAB.using(id, work),
  };
}

function open(store: BlobStore | null, ...replies: Reply[]) {
  const network = new FakeNetwork(...replies);
  const meter = new ByteMeter(() => 0);
  const keeping = store === null ? null : keepingOf(store);
  const options: OpenOptions = { ...network.options, keeping, meter };
  return { network, meter, bundle: openBundle(LOCATION, options) };
}

describe("reading a blob", () => {
  it("downloads once, then answers from the store without the network", async () => {
    const store = new MemoryStore();
    const first = open(store, whole(SHARD));
    expect(await first.bundle.readFile(await shardFile())).toEqual(SHARD);
    expect(first.meter.figures()).toMatchObject({ bytesDownloaded: 512, bytesFromCache: 0 });

    const second = open(store, status(500));
    expect(await second.bundle.readFile(await shardFile())).toEqual(SHARD);
    expect(second.network.asked).toHaveLength(0);
    expect(second.meter.figures()).toMatchObject({ bytesDownloaded: 0, bytesFromCache: 512 });
  });

  it("asks by digest", async () => {
    const { bundle, network } = open(null, whole(SHARD));
    const file = await shardFile();
    await bundle.readFile(file);
    expect(network.asked[0]?.url).toBe(`http://host/app/v2/library/tiny/blobs/${file.digest}`);
  });

  it("fetches a flipped bit once more past all caches, and takes the good copy", async () => {
    const { bundle, network } = open(null, whole(FLIPPED), whole(SHARD));
    expect(await bundle.readFile(await shardFile())).toEqual(SHARD);
    expect(network.asked.map(({ cache }) => cache)).toEqual(["default", "reload"]);
  });

  it("names the file and both digests when the second copy is bad too", async () => {
    const store = new MemoryStore();
    const { bundle, network } = open(store, whole(FLIPPED));
    const file = await shardFile();
    await expect(bundle.readFile(file)).rejects.toMatchObject({
      code: "digest-mismatch",
      message: expect.stringContaining(
        `params_shard_0.bin is not the file the manifest names: ` +
          `expected ${file.digest}, got ${await digestOf(FLIPPED)}. It comes from host like this`,
      ) as string,
    });
    expect(network.asked).toHaveLength(2);
    expect(await store.get(file.digest)).toBeNull();
  });

  it("does not trust the store either: a rotten blob is dropped and fetched again", async () => {
    const store = new MemoryStore();
    const file = await shardFile();
    await store.put(file.digest, FLIPPED);
    const { bundle } = open(store, whole(SHARD));
    expect(await bundle.readFile(file)).toEqual(SHARD);
    expect(await store.get(file.digest)).toEqual(SHARD);
  });

  it("goes on without a store that is full", async () => {
    const full = new MemoryStore();
    full.put = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
    const { bundle } = open(full, whole(SHARD));
    expect(await bundle.readFile(await shardFile())).toEqual(SHARD);
  });
});

describe("reading index and manifest", () => {
  it("checks a manifest's bytes against its digest", async () => {
    const good = bytesOf(await manifestJson());
    const row = {
      mediaType: MEDIA_TYPES.manifest,
      digest: await digestOf(good),
      size: good.byteLength,
      annotations: new Map(),
      platform: null,
    };
    const honest = open(null, whole(good));
    expect((await honest.bundle.readManifest(row)).layers).toHaveLength(4);

    const other = bytesOf({ ...(await manifestJson()), annotations: { evil: "yes" } });
    const lying = open(null, whole(other));
    await expect(lying.bundle.readManifest(row)).rejects.toMatchObject({ code: "digest-mismatch" });
  });

  it("asks for the index anew each time, because a tag moves", async () => {
    const { bundle, network } = open(null, whole(bytesOf(await indexJson())));
    await bundle.readIndex();
    expect(network.asked[0]).toMatchObject({
      url: "http://host/app/v2/library/tiny/manifests/latest",
      cache: "no-cache",
    });
  });

  it("says how to make a model that is not there", async () => {
    const { bundle } = open(null, status(404));
    await expect(bundle.readIndex()).rejects.toThrow(
      /There is no model named tiny here.*transom compile/,
    );
  });
});

describe("a host that does not answer", () => {
  const index = async () => bytesOf(await indexJson());

  const NOBODY: Reply = () => {
    throw new TypeError("Failed to fetch");
  };

  /** A store that a visit has left, with its model's one file. */
  async function visited() {
    const store = new MemoryStore();
    const { bundle } = open(store, whole(await index()), whole(SHARD));
    await bundle.readIndex();
    const file = await shardFile();
    expect(await bundle.prepare([file])).toEqual({ isKept: true, isOffline: false, removed: [] });
    await bundle.readFile(file);
    return { store, file };
  }

  it("opens the model of the last visit, asking once", async () => {
    const { store, file } = await visited();
    const { bundle, network } = open(store, NOBODY);
    expect((await bundle.readIndex()).manifests).toHaveLength(3);
    expect(network.asked).toHaveLength(1);
    expect(await bundle.readFile(file)).toEqual(SHARD);
    // And so at the visit after that.
    expect(await bundle.prepare([file])).toEqual({ isKept: true, isOffline: true, removed: [] });
    await expect(open(store, NOBODY).bundle.readIndex()).resolves.toBeDefined();
  });

  it("is asked patiently where no visit was before", async () => {
    const { bundle, network } = open(new MemoryStore(), NOBODY);
    await expect(bundle.readIndex()).rejects.toMatchObject({ code: "network" });
    expect(network.asked).toHaveLength(5);
  });

  it("has the last word when it says that the model is gone", async () => {
    const { store } = await visited();
    const { bundle } = open(store, status(404));
    await expect(bundle.readIndex()).rejects.toMatchObject({ code: "model-not-found" });
  });

  it("is needed where the kept index has rotted", async () => {
    const { store } = await visited();
    await store.put(await digestOf(await index()), bytesOf("rotten"));
    const { bundle } = open(store, NOBODY);
    await expect(bundle.readIndex()).rejects.toMatchObject({ code: "network" });
  });
});

describe("readAhead", () => {
  it("keeps the order and holds two files at most", async () => {
    const contents = [1, 2, 3, 4].map((seed) => patternBytes(100 + seed));
    const files = await Promise.all(
      contents.map(async (bytes, index) => ({
        ...(await describeFile(`f${index}`, MEDIA_TYPES.shard, bytes)),
        title: `f${index}`,
        digest: await digestOf(bytes),
        annotations: new Map(),
        platform: null,
      })),
    );
    const byDigest = new Map<Digest, Uint8Array<ArrayBuffer>>(
      files.map(({ digest }, index) => [digest, contents[index] ?? new Uint8Array(0)]),
    );
    const { bundle, network } = open(null, ({ url }) => {
      const digest = url.split("/").at(-1) as Digest;
      return new Response(byDigest.get(digest) ?? null);
    });
    const seen: string[] = [];
    for await (const { file, bytes } of readAhead(bundle, files)) {
      seen.push(file.title);
      expect(bytes).toEqual(byDigest.get(file.digest));
      expect(network.asked.length).toBeLessThanOrEqual(seen.length + 1);
    }
    expect(seen).toEqual(["f0", "f1", "f2", "f3"]);
  });

  /** Files that lie on a disk, and the order in which they are read and given out. */
  function onDisk(broken: string | null = null) {
    const events: string[] = [];
    const bundle = {
      fetchAhead: () => Promise.resolve(true),
      readFile: ({ title }: FileDescriptor) => {
        events.push(`read ${title}`);
        return title === broken ? Promise.reject(new Error("rotten")) : Promise.resolve(SHARD);
      },
    } as unknown as BundleReader;
    const files = ["a", "b", "c"].map((title) => ({ title }) as FileDescriptor);
    return { events, bundle, files };
  }

  it("reads the first file before anybody asks where all are here, and one at a time then", async () => {
    const { events, bundle, files } = onDisk();
    const reading = readAhead(bundle, files, true);
    expect(events).toEqual(["read a"]);
    for await (const { file } of reading) {
      events.push(`used ${file.title}`);
      await Promise.resolve();
    }
    expect(events).toEqual(["read a", "used a", "read b", "used b", "read c", "used c"]);
  });

  it("reads nothing unasked where files are to come", () => {
    const { events, bundle, files } = onDisk();
    readAhead(bundle, files);
    expect(events).toEqual([]);
  });

  it("keeps what broke for whoever asks, and ends there", async () => {
    const { events, bundle, files } = onDisk("a");
    const reading = readAhead(bundle, files, true);
    await new Promise((resolve) => setTimeout(resolve));
    await expect(reading.next()).rejects.toThrow("rotten");
    expect((await reading.next()).done).toBe(true);
    expect(events).toEqual(["read a"]);
  });

  it("has nothing to read of no files", async () => {
    const { bundle } = onDisk();
    expect((await readAhead(bundle, [], true).next()).done).toBe(true);
  });
});

describe("an image layout on a static host", () => {
  const source = { kind: "layout", baseUrl: "http://host/site", reference: "me/tiny:v1" } as const;

  /** A layout with two models, and the page's reader for the second. */
  async function layout(change: (bytes: Uint8Array) => void = () => undefined) {
    const index = bytesOf({ schemaVersion: 2, manifests: [] });
    const digest = await digestOf(index);
    const row = (reference: string) => ({
      mediaType: MEDIA_TYPES.index,
      digest,
      size: index.byteLength,
      annotations: { [REF_NAME]: reference },
    });
    const rows = [row("tiny:latest"), row("me/tiny:v1")];
    const served = index.slice();
    change(served);
    const network = new FakeNetwork(
      whole(bytesOf({ schemaVersion: 2, manifests: rows })),
      whole(served),
    );
    const options = { ...network.options, keeping: null, meter: new ByteMeter(() => 0) };
    return { network, digest, bundle: openBundle(locate(source), options) };
  }

  it("finds the model's row, then its index by digest", async () => {
    const { bundle, network, digest } = await layout();
    expect((await bundle.readIndex()).manifests).toEqual([]);
    expect(network.asked.map(({ url }) => url)).toEqual([
      "http://host/site/index.json",
      `http://host/site/blobs/sha256/${digest.slice(7)}`,
    ]);
    expect(bundle.name).toBe("me/tiny:v1");
  });

  it("takes no index whose bytes are others than the row promises", async () => {
    const { bundle } = await layout((bytes) => (bytes[0] = 32));
    await expect(bundle.readIndex()).rejects.toMatchObject({ code: "digest-mismatch" });
  });

  it("says that a model is not there", async () => {
    const index = bytesOf({ schemaVersion: 2, manifests: [] });
    const network = new FakeNetwork(whole(index));
    const options = { ...network.options, keeping: null, meter: new ByteMeter(() => 0) };
    const bundle = openBundle(locate(source), options);
    await expect(bundle.readIndex()).rejects.toMatchObject({ code: "model-not-found" });
  });

  it("names manifests and blobs by digest", async () => {
    const file = await shardFile();
    const address = `http://host/site/blobs/sha256/${file.digest.slice(7)}`;
    expect(locate(source).blobUrls(file)).toEqual([address]);
    expect(locate(source).manifestUrls(file)).toEqual([address]);
  });
});

describe("locate", () => {
  it("names files by title in a plain folder", async () => {
    const folder = locate({ kind: "folder", baseUrl: "http://host/demo/smollm2" });
    expect(folder.indexUrls).toEqual(["http://host/demo/smollm2/index.json"]);
    expect(folder.blobUrls(await shardFile())).toEqual([
      "http://host/demo/smollm2/params_shard_0.bin",
    ]);
    expect(folder.name).toBe("smollm2");
  });
});
