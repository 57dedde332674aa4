import { describe, expect, it } from "vitest";

import { openBundle } from "../../web/src/store/bundle.ts";
import { locate } from "../../web/src/store/location.ts";
import { type FileDescriptor, MEDIA_TYPES, parseManifest } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Bytes, digestOf } from "../../web/src/store/verify.ts";
import { SHARD, bytesOf, describeFile, manifestJson, patternBytes } from "./bundle-fixture.ts";
import { FakeNetwork, type Reply, ranges, whole } from "./fake-network.ts";
import { ONE_TAB } from "./fake-tabs.ts";

const GGUF = patternBytes(1000);
const PIECE_BYTES = 256;
const FLIPPED = GGUF.map((byte, index) => (index === 300 ? byte ^ 1 : byte));

/** A native manifest as others than we write it: no titles. */
async function native() {
  const [config, model] = [
    await describeFile("", MEDIA_TYPES.nativeConfig, bytesOf({})),
    await describeFile("", MEDIA_TYPES.gguf, GGUF),
  ];
  delete config.annotations;
  delete model.annotations;
  const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, config, layers: [model] };
  return parseManifest(bytesOf(manifest));
}

async function gguf(): Promise<FileDescriptor> {
  const [file] = (await native()).layers;
  if (file === undefined) {
    throw new Error("the fixture has no model");
  }
  return file;
}

function open(store: MemoryStore, ...replies: Reply[]) {
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

async function read(file: Blob): Promise<Bytes> {
  return new Uint8Array(await file.arrayBuffer());
}

describe("a native manifest", () => {
  it("names files after their digest where they have no title", async () => {
    expect((await gguf()).title).toBe((await digestOf(GGUF)).slice("sha256:".length));
  });
});

describe("openFile", () => {
  it("lays pieces down as one file, and finds it there at the next visit", async () => {
    const store = new MemoryStore();
    const first = open(store, ranges(GGUF));
    expect(await read(await first.bundle.openFile(await gguf()))).toEqual(GGUF);
    expect(first.network.asked).toHaveLength(4);
    expect(first.meter.figures()).toMatchObject({ bytesDownloaded: 1000, bytesFromCache: 0 });

    const second = open(store);
    expect(await read(await second.bundle.openFile(await gguf()))).toEqual(GGUF);
    expect(second.network.asked).toHaveLength(0);
    expect(second.meter.figures()).toMatchObject({ bytesDownloaded: 0, bytesFromCache: 1000 });
  });

  it("goes on behind the pieces of an earlier visit", async () => {
    const store = new MemoryStore();
    const file = await gguf();
    const kept = await store.pieces(file.digest);
    await kept.put(1, GGUF.slice(256, 512));
    const { bundle, network, meter } = open(store, ranges(GGUF));
    expect(await read(await bundle.openFile(file))).toEqual(GGUF);
    expect(network.asked).toHaveLength(3);
    expect(meter.figures()).toMatchObject({ bytesDownloaded: 744, bytesFromCache: 256 });
  });

  it("asks once more for a file that came wrong", async () => {
    const wrong = ranges(FLIPPED);
    const { bundle } = open(new MemoryStore(), wrong, wrong, wrong, wrong, whole(GGUF));
    expect(await read(await bundle.openFile(await gguf()))).toEqual(GGUF);
  });

  it("does not hand out what rotted on the disk", async () => {
    const store = new MemoryStore();
    const file = await gguf();
    await store.put(file.digest, FLIPPED);
    const { bundle } = open(store, ranges(GGUF));
    expect(await read(await bundle.openFile(file))).toEqual(GGUF);
  });

  it("does without a disk that is full", async () => {
    const store = new MemoryStore();
    store.put = () => Promise.reject(new DOMException("full", "QuotaExceededError"));
    const { bundle } = open(store, ranges(GGUF));
    expect(await read(await bundle.openFile(await gguf()))).toEqual(GGUF);
  });
});

describe("prepare", () => {
  it("lets stay what another engine needs, if it is here", async () => {
    const store = new MemoryStore();
    const [shard, cache] = parseManifest(bytesOf(await manifestJson())).layers;
    if (shard === undefined || cache === undefined) {
      throw new Error("the fixture has no layers");
    }
    await store.put(shard.digest, SHARD);
    const { bundle } = open(store);
    await bundle.prepare([shard]);
    await bundle.prepare([await gguf()], [shard, cache]);
    expect((await store.list()).map(({ digest }) => digest)).toEqual([shard.digest]);
    const shelf = new Shelf(store, ONE_TAB, () => 0);
    const [model] = await shelf.sizes();
    expect(model?.totalBytes).toBe(GGUF.byteLength + SHARD.byteLength);
    // Nobody says so any more: it goes once the other one is here.
    const file = await gguf();
    await bundle.prepare([file]);
    await shelf.sweep();
    expect((await store.list()).map(({ digest }) => digest)).toEqual([shard.digest]);
    await store.put(file.digest, GGUF);
    await shelf.sweep();
    expect((await store.list()).map(({ digest }) => digest)).toEqual([file.digest]);
  });
});
