/** Files that came with flipped bits from hosts that tell no digests of ranges. */
import { describe, expect, it } from "vitest";

import { type OpenOptions, openBundle } from "../../web/src/store/bundle.ts";
import { locate } from "../../web/src/store/location.ts";
import type { FileDescriptor } from "../../web/src/store/manifest.ts";
import { MEDIA_TYPES } from "../../web/src/store/manifest-types.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { mendBytes } from "../../web/src/store/mending.ts";
import { piecesOf } from "../../web/src/store/pieces.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Bytes, digestOf } from "../../web/src/store/verify.ts";
import { patternBytes } from "./bundle-fixture.ts";
import { type Asked, FakeNetwork, type Reply, ranges } from "./fake-network.ts";
import { ONE_TAB } from "./fake-tabs.ts";
import { randomNumbers } from "./random-numbers.ts";

const FILE = patternBytes(1000);
const PIECE_BYTES = 128;
const COUNT = 8;
const HOST = "http://one/";

const SHARD: FileDescriptor = {
  mediaType: MEDIA_TYPES.shard,
  digest: await digestOf(FILE),
  size: FILE.byteLength,
  annotations: new Map(),
  platform: null,
  title: "params_shard_0.bin",
};

/** The file with a bit of this piece flipped. */
function flipped(...pieces: number[]): Bytes {
  const bytes = FILE.slice();
  for (const index of pieces) {
    bytes[index * PIECE_BYTES] = (bytes[index * PIECE_BYTES] ?? 0) ^ 1;
  }
  return bytes;
}

function pieceOf({ range }: Asked): number {
  return Number(/bytes=(\d+)/.exec(range ?? "bytes=0")?.[1]) / PIECE_BYTES;
}

function open(store: MemoryStore, mirrors: readonly string[], reply: Reply, baseUrl = HOST) {
  const network = new FakeNetwork(reply);
  const meter = new ByteMeter(() => 0);
  return { network, meter, bundle: openWith(store, mirrors, network, { meter }, baseUrl) };
}

function openWith(
  store: MemoryStore,
  mirrors: readonly string[],
  network: FakeNetwork,
  options: Partial<OpenOptions>,
  baseUrl = HOST,
) {
  const keeping = {
    store,
    shelf: new Shelf(store, ONE_TAB, () => 0),
    room: () => Promise.resolve({ quotaBytes: Infinity, usedBytes: 0 }),
    using: ONE_TAB.using.bind(ONE_TAB),
  };
  const meter = new ByteMeter(() => 0);
  const location = locate({ kind: "layout", baseUrl, reference: "tiny:latest", mirrors });
  const fakes = { ...network.options, pieceBytes: PIECE_BYTES };
  return openBundle(location, { ...fakes, keeping, meter, ...options });
}

/** Wrong until every piece has come once, then right. */
function rightAfterAll(wrong: Bytes): Reply {
  let count = 0;
  return (request) => ranges(count++ < COUNT ? wrong : FILE)(request);
}

describe.each(["in memory", "on disk"])("a file that came wrong, %s", (place) => {
  async function read(bundle: ReturnType<typeof openBundle>): Promise<Bytes> {
    return place === "in memory"
      ? bundle.readFile(SHARD)
      : new Uint8Array(await (await bundle.openFile(SHARD)).arrayBuffer());
  }

  it.each([0, 3, 7])("is asked for again up to the bad piece: %i", async (bad) => {
    const store = new MemoryStore();
    const { bundle, network, meter } = open(store, [], rightAfterAll(flipped(bad)));
    expect(await read(bundle)).toEqual(FILE);
    const again = network.asked.slice(COUNT);
    expect(again.map(pieceOf)).toEqual(Array.from({ length: bad + 1 }, (_, index) => index));
    expect(again.every(({ cache }) => cache === "reload")).toBe(true);
    expect(await store.get(SHARD.digest)).toEqual(FILE);
    expect(meter.figures()).toMatchObject({ bytesDownloaded: 1000, bytesFromCache: 0 });
  });

  it("is mended in one round, however many pieces were bad", async () => {
    const { bundle, network } = open(new MemoryStore(), [], rightAfterAll(flipped(1, 2, 6)));
    expect(await read(bundle)).toEqual(FILE);
    expect(network.asked).toHaveLength(COUNT + 7);
  });

  it("is compared once more where a bit flips in the round itself", async () => {
    let count = 0;
    const { bundle, network } = open(new MemoryStore(), [], (request) => {
      const round = Math.floor(count++ / COUNT);
      return ranges(round === 0 ? flipped(5) : round === 1 ? flipped(2) : FILE)(request);
    });
    expect(await read(bundle)).toEqual(FILE);
    expect(network.asked).toHaveLength(2 * COUNT + 3);
  });

  it("is given up after one round where the host has nothing else", async () => {
    const store = new MemoryStore();
    const { bundle, network } = open(store, [], ranges(flipped(4)));
    await expect(read(bundle)).rejects.toMatchObject({
      code: "digest-mismatch",
      message: expect.stringMatching(
        /^params_shard_0\.bin is not .* It comes from one like this each time: whoever runs/,
      ) as string,
    });
    expect(network.asked).toHaveLength(2 * COUNT);
    // The next visit does not begin with what is wrong.
    expect(await store.list()).toEqual([]);
  });

  it("is given up after three rounds where something changes bytes each time", async () => {
    let seed = 0;
    const { bundle, network } = open(new MemoryStore(), [], (request) => {
      const bytes = FILE.slice();
      bytes[pieceOf(request) * PIECE_BYTES] = ++seed;
      return ranges(bytes)(request);
    });
    await expect(read(bundle)).rejects.toMatchObject({
      code: "digest-mismatch",
      message: expect.stringContaining("Try again on another network") as string,
    });
    expect(network.asked).toHaveLength(4 * COUNT);
  });

  it.each([0, 1])("is mended by the other address where one always lies: %i", async (liar) => {
    const lies = liar === 0 ? "http://one/" : "http://two/";
    const { bundle } = open(new MemoryStore(), ["http://two"], (request) =>
      ranges(request.url.startsWith(lies) ? flipped(0, 1, 5) : FILE)(request),
    );
    expect(await read(bundle)).toEqual(FILE);
  });

  it("is never given out wrong on a line that flips one piece in twenty", async () => {
    const random = randomNumbers(7);
    for (let visit = 0; visit < 40; visit++) {
      const { bundle } = open(new MemoryStore(), [], (request) =>
        ranges(random() < 0.05 ? flipped(pieceOf(request)) : FILE)(request),
      );
      expect(await read(bundle)).toEqual(FILE);
    }
  });

  it("costs a host without ranges a stream up to the bad piece", async () => {
    let visits = 0;
    let sent = 0;
    const reply = () => {
      const bytes = visits++ === 0 ? flipped(2) : FILE;
      sent = 0;
      return new Response(
        new ReadableStream(
          {
            pull(controller) {
              controller.enqueue(bytes.slice(sent, sent + 100));
              sent += 100;
              if (sent >= 1000) {
                controller.close();
              }
            },
          },
          { highWaterMark: 0 },
        ),
      );
    };
    // What is learned of hosts is remembered.
    const host = `http://streams-${place.replaceAll(" ", "-")}/`;
    const { bundle, network } = open(new MemoryStore(), [], reply, host);
    expect(await read(bundle)).toEqual(FILE);
    expect(network.asked).toHaveLength(2);
    expect(sent).toBe(400);
  });

  it("stops when the visitor does", async () => {
    const controller = new AbortController();
    let count = 0;
    const network = new FakeNetwork((request) => {
      if (++count === COUNT + 3) {
        controller.abort();
      }
      return ranges(flipped(7))(request);
    });
    const bundle = openWith(new MemoryStore(), [], network, { signal: controller.signal });
    await expect(read(bundle)).rejects.toMatchObject({ code: "aborted" });
    expect(network.asked).toHaveLength(COUNT + 3);
  });
});

describe("mendBytes", () => {
  it("keeps good pieces for a visit that goes on", async () => {
    const pieces = await new MemoryStore().pieces(SHARD.digest);
    const wrong = flipped(1, 3);
    for (const { index, start, end } of piecesOf(FILE.byteLength, PIECE_BYTES)) {
      await pieces.put(index, wrong.slice(start, end));
    }
    let count = 0;
    const network = new FakeNetwork((request) =>
      ++count > 2 ? new Response("no", { status: 403 }) : ranges(FILE)(request),
    );
    const options = { ...network.options, pieceBytes: PIECE_BYTES };
    const urls = ["http://one/blob"];
    await expect(mendBytes(SHARD, wrong.slice(), pieces, urls, options)).rejects.toMatchObject({
      code: "network",
    });
    expect(await pieces.get(1)).toEqual(FILE.slice(PIECE_BYTES, 2 * PIECE_BYTES));
  });

  it("asks for the files of a blob that lies in pieces", async () => {
    const network = new FakeNetwork(({ url }) => {
      const index = Number(url.split(".").at(-1));
      return new Response(FILE.slice(index * PIECE_BYTES, (index + 1) * PIECE_BYTES));
    });
    const options = { ...network.options, pieceBytes: PIECE_BYTES, isInPieces: true };
    const urls = ["http://one/blob"];
    expect(await mendBytes(SHARD, flipped(2), null, urls, options)).toEqual(FILE);
    expect(network.asked.map(({ url }) => url)).toEqual(
      ["000", "001", "002"].map((index) => `http://one/blob.${index}`),
    );
  });
});
