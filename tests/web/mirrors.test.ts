/** Files that lie at several addresses: who is asked, and who is left alone. */
import { describe, expect, it } from "vitest";

import { Addresses } from "../../web/src/store/addresses.ts";
import { openBundle } from "../../web/src/store/bundle.ts";
import {
  type DownloadOptions,
  downloadDocument,
  downloadFile,
} from "../../web/src/store/download.ts";
import { locate } from "../../web/src/store/location.ts";
import type { Descriptor } from "../../web/src/store/manifest.ts";
import { MemoryStore } from "../../web/src/store/memory.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Bytes, type Promised, digestOf } from "../../web/src/store/verify.ts";
import { bytesOf, indexJson, patternBytes } from "./bundle-fixture.ts";
import {
  FakeNetwork,
  type Reply,
  broken,
  ranges,
  status,
  unreachable,
  whole,
} from "./fake-network.ts";
import { ONE_TAB } from "./fake-tabs.ts";

const FILE = patternBytes(1000);
const PIECE = 128;
const COUNT = 8;
const URLS = ["http://one/blob", "http://two/blob"];

/** Each host has an answer of its own. */
function hosts(replies: Record<string, Reply>): FakeNetwork {
  return new FakeNetwork((asked) => {
    const reply = replies[new URL(asked.url).host];
    if (reply === undefined) {
      throw new Error(`nobody is at ${asked.url}`);
    }
    return reply(asked);
  });
}

function download(
  network: FakeNetwork,
  urls = URLS,
  options: DownloadOptions = {},
): Promise<Bytes> {
  const all = { ...network.options, pieceBytes: PIECE, ...options };
  return downloadFile("shard", urls, FILE.length, null, all);
}

function askedOf(network: FakeNetwork, host: string): number {
  return network.asked.filter(({ url }) => new URL(url).host === host).length;
}

describe("a file at two addresses", () => {
  it.each([401, 403, 404, 410, 416])("comes from the other one where one says %i", async (code) => {
    for (const bad of ["one", "two"]) {
      const good = bad === "one" ? "two" : "one";
      const network = hosts({ [bad]: status(code), [good]: ranges(FILE) });
      expect(await download(network, URLS, { connections: 2 })).toEqual(FILE);
      // No more than each connection's first request went there.
      expect(askedOf(network, bad)).toBeLessThanOrEqual(2);
      expect(network.pauses).toEqual([]);
    }
  });

  it.each([
    ["500", status(500)],
    ["503", status(503)],
    ["429", status(429)],
    ["nobody", unreachable()],
  ])("does not wait for one that fails (%s) while there is another", async (_, failing) => {
    const network = hosts({ one: failing, two: ranges(FILE) });
    expect(await download(network)).toEqual(FILE);
    expect(network.pauses).toEqual([]);
    expect(askedOf(network, "one")).toBeLessThanOrEqual(4);
  });

  it("believes nothing of an answer that is too long", async () => {
    const lies: Reply = () => {
      const bytes = new Uint8Array(PIECE + 1).fill(7);
      const body = new ReadableStream<Uint8Array>({
        start(controller) {
          controller.enqueue(bytes.slice(0, 100));
          controller.enqueue(bytes.slice(100));
          controller.close();
        },
      });
      return new Response(body, { status: 206 });
    };
    const network = hosts({ one: lies, two: ranges(FILE) });
    expect(await download(network)).toEqual(FILE);
    expect(network.pauses).toEqual([]);
  });

  it("goes on at the other one where a connection breaks", async () => {
    const network = hosts({
      one: (asked) => broken(FILE.slice(Number(/=(\d+)/.exec(asked.range ?? "")?.[1])), 50)(asked),
      two: ranges(FILE),
    });
    expect(await download(network, URLS, { connections: 1 })).toEqual(FILE);
    expect(network.asked.slice(0, 2).map(({ url, range }) => [url, range])).toEqual([
      ["http://one/blob", "bytes=0-127"],
      ["http://two/blob", "bytes=50-127"],
    ]);
  });

  it("waits when none of them answers, and asks all again", async () => {
    let down = true;
    const reply: Reply = (asked) => (down ? unreachable()(asked) : ranges(FILE)(asked));
    const network = hosts({ one: reply, two: reply });
    const pause = () => {
      down = false;
      return Promise.resolve();
    };
    expect(await download(network, URLS, { connections: 1, pause })).toEqual(FILE);
    expect(network.asked.slice(0, 3).map(({ url }) => url)).toEqual([...URLS, URLS[0]]);
  });

  it("is given up after as many pauses as one address would have", async () => {
    const network = hosts({ one: unreachable(), two: unreachable() });
    await expect(download(network, URLS, { connections: 1 })).rejects.toThrow("(5 attempts)");
    expect(network.pauses).toHaveLength(4);
    expect(network.asked).toHaveLength(10);
  });

  it("is nowhere when all refuse it", async () => {
    const network = hosts({ one: status(403), two: status(404) });
    await expect(download(network, URLS, { connections: 1 })).rejects.toMatchObject({
      code: "model-not-found",
    });
    expect(network.asked).toHaveLength(2);
  });

  it("comes from both where both are well", async () => {
    const network = hosts({ one: ranges(FILE), two: ranges(FILE) });
    expect(await download(network)).toEqual(FILE);
    expect([askedOf(network, "one"), askedOf(network, "two")]).toEqual([COUNT / 2, COUNT / 2]);
  });

  it("comes whole from the other one where hosts know no ranges", async () => {
    const all: Reply = () => new Response(FILE);
    const known = new Map([
      ["http://one", false],
      ["http://two", false],
    ]);
    const network = hosts({ one: status(403), two: all });
    expect(await download(network, URLS, { ranges: known })).toEqual(FILE);
    expect(network.asked.map(({ url }) => url)).toEqual(URLS);
  });
});

describe("a document at two addresses", () => {
  const TEXT = patternBytes(64);

  function document(network: FakeNetwork, promised: Promised | null = null) {
    return downloadDocument("index", URLS, 64, promised, network.options);
  }

  it("comes from the first one that answers", async () => {
    const network = hosts({ one: whole(TEXT), two: whole(patternBytes(3)) });
    expect(await document(network)).toEqual(TEXT);
    expect(network.asked).toHaveLength(1);
  });

  it.each([
    ["403", status(403)],
    ["404", status(404)],
    ["500", status(500)],
    ["nobody", unreachable()],
    ["too much", whole(patternBytes(65))],
  ])("comes from the mirror where the host says %s", async (_, failing) => {
    const network = hosts({ one: failing, two: whole(TEXT) });
    expect(await document(network)).toEqual(TEXT);
    expect(network.pauses).toEqual([]);
  });

  it("is not there when the host says so and the mirror has no other word", async () => {
    const network = hosts({ one: status(404), two: status(403) });
    await expect(document(network)).rejects.toMatchObject({ code: "model-not-found" });
    expect(network.asked).toHaveLength(2);
  });

  it("is asked for with pauses where both fail, and no more of one that refused", async () => {
    const network = hosts({ one: status(404), two: unreachable() });
    await expect(document(network)).rejects.toThrow("(5 attempts)");
    expect(askedOf(network, "one")).toBe(1);
    expect(network.pauses).toHaveLength(4);
  });

  it("comes from the mirror where the host's is not what was promised", async () => {
    const promised = { digest: await digestOf(TEXT), size: 64 };
    const network = hosts({ one: whole(patternBytes(63)), two: whole(TEXT) });
    expect(await document(network, promised)).toEqual(TEXT);
    expect(network.asked).toHaveLength(2);
  });

  it("is asked for once more past all caches where all have it wrong", async () => {
    const promised = { digest: await digestOf(TEXT), size: 64 };
    const wrong = whole(patternBytes(63));
    let count = 0;
    const late = hosts({
      one: (asked) => (count++ === 0 ? wrong : whole(TEXT))(asked),
      two: wrong,
    });
    expect(await document(late, promised)).toEqual(TEXT);
    expect(late.asked.map(({ cache }) => cache)).toEqual(["default", "default", "reload"]);

    const never = hosts({ one: wrong, two: wrong });
    await expect(document(never, promised)).rejects.toMatchObject({ code: "digest-mismatch" });
    expect(never.asked).toHaveLength(4);
  });
});

describe("a layout with mirrors", () => {
  it("has all its addresses, the host's own first", async () => {
    const location = locate({
      kind: "layout",
      baseUrl: "https://me.example/site/",
      reference: "tiny:latest",
      mirrors: ["https://a.example/models", "http://localhost:8000/"],
    });
    expect(location.id).toBe("https://me.example/site/index.json#tiny:latest");
    expect(location.indexUrls).toEqual([
      "https://me.example/site/index.json",
      "https://a.example/models/index.json",
      "http://localhost:8000/index.json",
    ]);
    const digest = await digestOf(FILE);
    const row = { digest } as Descriptor;
    expect(location.manifestUrls(row)).toEqual([
      `https://me.example/site/blobs/sha256/${digest.slice(7)}`,
      `https://a.example/models/blobs/sha256/${digest.slice(7)}`,
      `http://localhost:8000/blobs/sha256/${digest.slice(7)}`,
    ]);
  });
});

describe("the index of a model that is here", () => {
  const location = locate({
    kind: "registry",
    baseUrl: "http://one/",
    repository: "library/tiny",
    reference: "latest",
    mirrors: ["http://two/"],
  });

  async function visit(store: MemoryStore, network: FakeNetwork) {
    const keeping = {
      store,
      shelf: new Shelf(store, ONE_TAB, () => 0),
      room: () => Promise.resolve({ quotaBytes: Infinity, usedBytes: 0 }),
      using: ONE_TAB.using.bind(ONE_TAB),
    };
    const meter = new ByteMeter(() => 0);
    const bundle = openBundle(location, { ...network.options, keeping, meter });
    const index = await bundle.readIndex();
    await bundle.prepare([]);
    return index.manifests.length;
  }

  /** One version is here; a mirror has another, which has no platforms. */
  async function visited() {
    const store = new MemoryStore();
    const index = whole(bytesOf(await indexJson()));
    expect(await visit(store, hosts({ one: index }))).toBe(3);
    return { store, other: whole(bytesOf({ schemaVersion: 2, manifests: [] })) };
  }

  it("stays where the host is away, for a mirror may lag behind", async () => {
    for (const failing of [unreachable(), status(503), status(403)]) {
      const { store, other } = await visited();
      const network = hosts({ one: failing, two: other });
      expect(await visit(store, network)).toBe(3);
      expect(askedOf(network, "two")).toBe(0);
    }
  });

  it("comes from a mirror where the host has lost it", async () => {
    const { store, other } = await visited();
    expect(await visit(store, hosts({ one: status(404), two: other }))).toBe(0);
    const { store: again } = await visited();
    expect(await visit(again, hosts({ one: status(404), two: unreachable() }))).toBe(3);
    await expect(visit(again, hosts({ one: status(404), two: status(404) }))).rejects.toMatchObject(
      { code: "model-not-found" },
    );
  });
});

describe("Addresses", () => {
  it("takes turns", () => {
    const addresses = new Addresses(["a", "b", "c"]);
    expect([0, 1, 2, 3].map((turn) => addresses.at(turn))).toEqual(["a", "b", "c", "a"]);
  });

  it("never comes back to one that refused, nor lets go of the last", () => {
    const addresses = new Addresses(["a", "b"]);
    expect(addresses.refuse("a")).toBe(true);
    // Another connection hears it, too.
    expect(addresses.refuse("a")).toBe(true);
    expect([0, 1].map((turn) => addresses.at(turn))).toEqual(["b", "b"]);
    expect(addresses.refuse("b")).toBe(false);
    expect(addresses.at(0)).toBe("b");
  });

  it("spares one that falters until all have", () => {
    const addresses = new Addresses(["a", "b"]);
    expect(addresses.falter("a")).toBe(true);
    expect([0, 1].map((turn) => addresses.at(turn))).toEqual(["b", "b"]);
    expect(addresses.falter("b")).toBe(false);
    expect([0, 1].map((turn) => addresses.at(turn))).toEqual(["a", "b"]);
  });

  it("has one that faltered back when the others refuse", () => {
    const addresses = new Addresses(["a", "b"]);
    addresses.falter("a");
    expect(addresses.refuse("b")).toBe(true);
    expect(addresses.at(0)).toBe("a");
  });
});
