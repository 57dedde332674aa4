/** A model that has changed on its host: the version that is here stays until the newer one is. */
import { describe, expect, it } from "vitest";

import { openBundle } from "../../web/src/store/bundle.ts";
import { locate } from "../../web/src/store/location.ts";
import type { FileDescriptor } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import type { BlobStore } from "../../web/src/store/store.ts";
import { digestOf } from "../../web/src/store/verify.ts";
import { SHARD, bytesOf, indexJson, patternBytes, shardFile } from "./bundle-fixture.ts";
import { FakeNetwork, type Reply, ranges, whole } from "./fake-network.ts";
import { tabs } from "./fake-tabs.ts";

const LOCATION = locate({
  kind: "registry",
  baseUrl: "http://host/app/",
  repository: "library/tiny",
  reference: "latest",
});

const TABS = tabs();

function keepingOf(store: BlobStore, quotaBytes = Infinity) {
  return {
    store,
    shelf: new Shelf(store, TABS, () => 0),
    room: () => Promise.resolve({ quotaBytes, usedBytes: 0 }),
    using: TABS.using.bind(TABS),
  };
}

describe("a newer version on the host", () => {
  const NEWER_SHARD = patternBytes(700);

  const NOBODY: Reply = () => {
    throw new TypeError("Failed to fetch");
  };

  async function newer(): Promise<FileDescriptor> {
    return { ...(await shardFile()), digest: await digestOf(NEWER_SHARD), size: 700 };
  }

  const index = async () => bytesOf(await indexJson());
  const newerIndex = async () => bytesOf({ ...(await indexJson()), manifests: [] });

  /** One visit: index, then the model's one file. */
  async function visit(
    store: BlobStore,
    file: FileDescriptor,
    quotaBytes: number,
    ...replies: Reply[]
  ) {
    const network = new FakeNetwork(...replies);
    const keeping = keepingOf(store, quotaBytes);
    const meter = new ByteMeter(() => 0);
    const options = { ...network.options, keeping, meter, pieceBytes: 256 };
    const bundle = openBundle(LOCATION, options);
    return keeping.using(LOCATION.id, async () => {
      const { manifests } = await bundle.readIndex();
      const kept = await bundle.prepare([file]);
      return { rows: manifests.length, kept, bytes: await bundle.readFile(file) };
    });
  }

  /** The first version is here; of the second one a piece came, then the network went. */
  async function interrupted() {
    const store = new MemoryStore();
    const file = await shardFile();
    await visit(store, file, Infinity, whole(await index()), whole(SHARD));
    const coming = await newer();
    const replies = [whole(await newerIndex()), ranges(NEWER_SHARD), NOBODY];
    const update = visit(store, coming, Infinity, ...replies);
    await expect(update).rejects.toMatchObject({ code: "network" });
    return { store, shelf: keepingOf(store).shelf, file, coming };
  }

  it("that stops in the middle leaves the former one, which opens offline", async () => {
    const { store, shelf, file, coming } = await interrupted();
    await shelf.sweep();
    for (const quotaBytes of [Infinity, 0]) {
      const { rows, kept, bytes } = await visit(store, file, quotaBytes, NOBODY);
      expect(kept).toEqual({ isKept: true, isOffline: true, removed: [] });
      expect([rows, bytes]).toEqual([3, SHARD]);
    }
    // What came of the newer one is not lost by that.
    expect(await (await store.pieces(coming.digest)).indices()).not.toEqual([]);
  });

  it("takes its place once it is wholly here", async () => {
    const { store, shelf, file, coming } = await interrupted();
    await visit(store, coming, Infinity, whole(await newerIndex()), ranges(NEWER_SHARD));
    expect(await store.get(file.digest)).toEqual(SHARD);
    await shelf.sweep();
    expect(await store.get(file.digest)).toBeNull();
    expect(await store.get(await digestOf(await index()))).toBeNull();
    const { rows, kept, bytes } = await visit(store, coming, Infinity, NOBODY);
    expect(kept.isOffline).toBe(true);
    expect([rows, bytes]).toEqual([0, NEWER_SHARD]);
  });

  it("that is taken back is the former one again", async () => {
    const { store, shelf, file, coming } = await interrupted();
    const { bytes } = await visit(store, file, Infinity, whole(await index()), NOBODY);
    expect(bytes).toEqual(SHARD);
    await shelf.sweep();
    expect(await (await store.pieces(coming.digest)).indices()).toEqual([]);
    expect(await shelf.sizes()).toMatchObject([{ index: await digestOf(await index()) }]);
  });

  it("has its place where there is not enough for both", async () => {
    const store = new MemoryStore();
    const file = await shardFile();
    const size = (await index()).byteLength;
    await visit(store, file, Infinity, whole(await index()), whole(SHARD));
    // As if nothing else of the quota was taken: too little by the former one's bytes.
    const room = 700 + (await newerIndex()).byteLength - SHARD.byteLength - size;
    const coming = await newer();
    const update = visit(store, coming, room, whole(await newerIndex()), ranges(NEWER_SHARD));
    expect((await update).kept).toEqual({ isKept: true, isOffline: false, removed: [] });
    expect(await store.get(file.digest)).toBeNull();
    expect(await store.get(coming.digest)).toEqual(NEWER_SHARD);
  });
});
