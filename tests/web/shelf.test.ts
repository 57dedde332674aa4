import { describe, expect, it } from "vitest";

import { MemoryStore } from "../../web/src/store/memory.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Digest, type Promised, digestOf } from "../../web/src/store/verify.ts";
import { bytesOf, patternBytes } from "./bundle-fixture.ts";
import { tabs } from "./fake-tabs.ts";

async function blob(size: number, store?: MemoryStore): Promise<Promised> {
  const bytes = patternBytes(size);
  const digest = await digestOf(bytes);
  await store?.put(digest, bytes);
  return { digest, size };
}

const named = (id: string) => ({ id, name: id.toUpperCase() });
const NEW = named("new");

/** Two models of 300 bytes that share 100, and what this origin holds. */
async function shelf(...inUse: string[]) {
  const store = new MemoryStore();
  let now = 0;
  const made = new Shelf(store, tabs(inUse), () => ++now);
  const shared = await blob(100, store);
  const own = await blob(200, store);
  const other = await blob(201, store);
  await made.use(named("one"), [shared, own]);
  await made.use(named("two"), [shared, other]);
  return { store, made, shared, own, other };
}

async function digests(store: MemoryStore) {
  return (await store.list()).filter(({ isWhole }) => isWhole).map(({ digest }) => digest);
}

/** This model needs so many bytes more, and there is this room. @returns who had to leave for it. */
async function bring(
  made: Shelf,
  id: string,
  bytes: number,
  [quotaBytes, usedBytes]: [number, number],
  ...others: Promised[]
) {
  const coming = { digest: await digestOf(bytesOf(`${id} ${bytes}`)), size: bytes };
  const room = () => Promise.resolve({ quotaBytes, usedBytes });
  return made.use(named(id), [coming, ...others], null, room);
}

describe("Shelf", () => {
  it("says what each model takes, what of it is here, and what others need too", async () => {
    const { store, made, own } = await shelf("two");
    await store.delete(own.digest);
    await (await store.pieces(own.digest)).put(3, patternBytes(30));
    expect(await made.sizes()).toMatchObject([
      { id: "two", name: "TWO", totalBytes: 301, storedBytes: 301, sharedBytes: 100 },
      { id: "one", name: "ONE", totalBytes: 300, storedBytes: 130, sharedBytes: 100 },
    ]);
    expect((await made.sizes()).map(({ isInUse }) => isInUse)).toEqual([true, false]);
  });

  it("forgets only what nobody else needs", async () => {
    const { store, made, shared, own } = await shelf();
    expect(await made.forget("one")).toBe(200);
    expect(await store.get(own.digest)).toBeNull();
    expect(await store.get(shared.digest)).not.toBeNull();
    expect(await made.forget("two")).toBe(301);
    expect(await store.list()).toEqual([]);
    expect(await made.forget("two")).toBe(0);
  });

  it("forgets nothing that a tab is loading", async () => {
    const { made, store } = await shelf("one");
    await expect(made.forget("one")).rejects.toMatchObject({
      code: "busy",
      message: expect.stringContaining("ONE") as string,
    });
    expect(await store.list()).toHaveLength(3);
  });

  it("lets go of what an older version of a model needed", async () => {
    const { store, made, shared, own } = await shelf();
    await made.use(named("one"), [shared]);
    expect(await store.get(own.digest)).toBeNull();
  });

  it("makes room by what was unused for longest, and no more than it must", async () => {
    const { made } = await shelf();
    expect(await bring(made, "new", 150, [1000, 900])).toEqual(["ONE"]);
    expect((await made.sizes()).map(({ id }) => id)).toEqual(["new", "two"]);
  });

  it("makes no room by what another tab is loading", async () => {
    const { made } = await shelf("one");
    expect(await made.evictableBytes("new")).toBe(201);
    expect(await bring(made, "new", 150, [1000, 900])).toEqual(["TWO"]);
    await expect(bring(made, "newer", 1, [1000, 1000])).rejects.toMatchObject({ code: "no-room" });
  });

  it("counts a model that is used again as used last", async () => {
    const { made } = await shelf();
    expect(await made.useAgain("one")).toMatchObject({ id: "one", blobs: [{}, {}] });
    expect(await made.useAgain("nobody")).toBeNull();
    expect(await bring(made, "new", 150, [1000, 900])).toEqual(["TWO"]);
  });

  it("removes nothing where there is room, nor where all of it would not do", async () => {
    const { made } = await shelf();
    await expect(bring(made, "new", 502, [1000, 1000])).rejects.toMatchObject({
      code: "no-room",
      message: expect.stringMatching(/^NEW needs 1 MB .* 1 MB too little/) as string,
    });
    expect(await made.sizes()).toHaveLength(2);
    expect(await bring(made, "new", 100, [1000, 900])).toEqual([]);
    expect(await made.evictableBytes("new")).toBe(501);
    // A byte less, and both go.
    expect(await bring(made, "new", 501, [1000, 1000])).toEqual(["ONE", "TWO"]);
  });

  it("keeps pinned models, and the one that it makes room for", async () => {
    const { made, shared, own } = await shelf();
    await made.pin("one", true);
    expect(await made.evictableBytes("new")).toBe(201);
    expect(await bring(made, "new", 150, [1000, 900])).toEqual(["TWO"]);
    await made.forget("new");
    await expect(bring(made, "one", 1, [1000, 1000], shared, own)).rejects.toMatchObject({
      code: "no-room",
    });
    await expect(made.pin("nobody", true)).rejects.toMatchObject({ code: "model-not-found" });
  });

  it("stays pinned when it is used again", async () => {
    const { made, shared } = await shelf();
    await made.pin("one", true);
    await made.use(named("one"), [shared]);
    expect(await made.sizes()).toContainEqual(
      expect.objectContaining({ id: "one", isPinned: true }),
    );
  });

  it("counts a blob once that a model names twice", async () => {
    const { store, made, shared } = await shelf();
    await made.forget("one");
    await made.forget("two");
    await made.use(named("odd"), [shared, shared]);
    expect(await made.missingBytes([shared, shared])).toBe(100);
    await (await store.pieces(shared.digest)).put(0, patternBytes(40));
    expect(await made.missingBytes([shared, shared])).toBe(60);
    expect((await made.sizes())[0]?.totalBytes).toBe(100);
  });

  it("sweeps blobs and pieces that no model needs, and pieces of what is whole", async () => {
    const { store, made, own } = await shelf();
    const stray = await blob(7, store);
    const strayPieces = await blob(8);
    await (await store.pieces(strayPieces.digest)).put(0, patternBytes(4));
    await (await store.pieces(own.digest)).put(0, patternBytes(4));
    await made.sweep();
    expect(await store.get(stray.digest)).toBeNull();
    expect(await store.list()).toHaveLength(3);
    expect(await digests(store)).toContain(own.digest);
  });

  it("keeps the pieces of a model that is on its way", async () => {
    const { store, made } = await shelf();
    const coming = await blob(9);
    await made.use(NEW, [coming]);
    await (await store.pieces(coming.digest)).put(0, patternBytes(4));
    await made.sweep();
    expect(await made.missingBytes([coming])).toBe(5);
  });

  it("takes a damaged list for an empty one", async () => {
    const { store, made, shared } = await shelf();
    await store.writeRecords(new TextEncoder().encode('{"models": [{"name": 3}]}'));
    expect(await made.sizes()).toEqual([]);
    await made.use(named("one"), [shared]);
    expect(await made.sizes()).toHaveLength(1);
  });

  it("reads the list of version 0.4.0, which had no names for people", async () => {
    const { store, made, shared } = await shelf();
    const old = { name: "http://host/a", lastUsed: 1, isPinned: 1, blobs: [shared] };
    await store.writeRecords(new TextEncoder().encode(JSON.stringify({ models: [old] })));
    expect(await made.sizes()).toMatchObject([
      { id: "http://host/a", name: "http://host/a", isPinned: true, totalBytes: 100 },
    ]);
  });
});

describe("a newer version of a model", () => {
  /**
   * A model of 100 bytes that stay and 200 that go, and 100 of 300 bytes of its newer version. Beside
   * it a model that is older.
   */
  async function updating(...inUse: string[]) {
    const store = new MemoryStore();
    let now = 0;
    const seen = tabs(inUse);
    const made = new Shelf(store, seen, () => ++now);
    const [shared, old, other] = [
      await blob(100, store),
      await blob(200, store),
      await blob(201, store),
    ];
    const coming = await blob(300);
    await made.use(named("other"), [other]);
    await made.use(named("one"), [shared, old], old.digest);
    /** As somebody who loads it. */
    const use = (blobs: Promised[], index: Digest | null = null, quotaBytes = Infinity) =>
      seen.using("one", () =>
        made.use(named("one"), blobs, index, () =>
          Promise.resolve({ quotaBytes, usedBytes: quotaBytes === Infinity ? 0 : 1000 }),
        ),
      );
    const arrives = ({ digest, size }: Promised) => store.put(digest, patternBytes(size));
    const here = async ({ digest }: Promised) => (await store.get(digest)) !== null;
    return { store, made, shared, old, other, coming, use, arrives, here };
  }

  it("comes in beside the one that is here, which opens until then", async () => {
    const { store, made, shared, old, coming, use, arrives, here } = await updating();
    await use([shared, coming], coming.digest);
    await (await store.pieces(coming.digest)).put(0, patternBytes(100));
    await made.sweep();
    expect(await here(old)).toBe(true);
    expect(await made.newest("one")).toEqual({ blobs: [shared, old], index: old.digest });
    expect((await made.sizes())[0]).toMatchObject({ totalBytes: 600, storedBytes: 400 });

    await arrives(coming);
    expect(await made.newest("one")).toEqual({ blobs: [shared, coming], index: coming.digest });
    await made.sweep();
    expect([await here(old), await here(shared), await here(coming)]).toEqual([false, true, true]);
    expect((await made.sizes())[0]).toMatchObject({ totalBytes: 400, storedBytes: 400 });
  });

  it("frees the former one when it is used again, too", async () => {
    const { made, shared, old, coming, use, arrives, here } = await updating();
    await use([shared, coming]);
    await arrives(coming);
    await use([shared, coming]);
    expect(await here(old)).toBe(false);
    expect((await made.sizes())[0]?.totalBytes).toBe(400);
  });

  it("takes along its former one when it is forgotten", async () => {
    const { store, made, shared, other, coming, use } = await updating();
    await use([shared, coming]);
    expect(await made.forget("one")).toBe(300);
    expect(await digests(store)).toEqual([other.digest]);
  });

  it("goes alone where the former one is to stay", async () => {
    const { store, made, shared, old, coming, use } = await updating();
    await use([shared, coming], coming.digest);
    await (await store.pieces(coming.digest)).put(0, patternBytes(100));
    expect(await made.forget("one", true)).toBe(100);
    const [one] = await made.sizes();
    expect(one).toMatchObject({ index: old.digest, totalBytes: 300, storedBytes: 300 });
    // Of a model that has none, all goes.
    expect(await made.forget("one", true)).toBe(300);
  });

  it("is replaced by a third one: the former stays the last that was wholly here", async () => {
    const { store, made, shared, old, coming, use, arrives, here } = await updating();
    const [some, third] = [await blob(50), await blob(400)];
    await use([shared, some, coming], coming.digest);
    await arrives(some);
    await (await store.pieces(coming.digest)).put(0, patternBytes(100));
    await use([shared, third], third.digest);
    expect([await here(old), await here(some)]).toEqual([true, false]);
    expect((await store.list()).map(({ digest }) => digest)).not.toContain(coming.digest);
    expect((await made.newest("one"))?.index).toBe(old.digest);
    await arrives(third);
    await made.sweep();
    expect(await here(old)).toBe(false);
  });

  it("has no former one where that never was wholly here", async () => {
    const { store, made, shared, old, coming, use, arrives, here } = await updating();
    await store.delete(old.digest);
    await arrives(shared);
    const some = await blob(50);
    await use([shared, old, some], old.digest);
    await arrives(some);
    await use([shared, coming], coming.digest);
    expect([await here(some), await here(shared)]).toEqual([false, true]);
    expect(await made.newest("one")).toMatchObject({ index: coming.digest });
  });

  it("has its former one's room before that of other models", async () => {
    const { made, shared, old, other, coming, use, here } = await updating();
    expect(await made.evictableBytes("one", [shared, coming], coming.digest)).toBe(401);
    expect(await use([shared, coming], coming.digest, 1100)).toEqual([]);
    expect([await here(old), await here(shared), await here(other)]).toEqual([false, true, true]);
  });

  it("has the room of other models next, and leaves all as it was where that is too little", async () => {
    const { made, shared, old, other, coming, use, here } = await updating();
    const larger = { ...coming, size: 402 };
    await expect(use([shared, larger], larger.digest, 1000)).rejects.toMatchObject({
      code: "no-room",
    });
    expect(await made.newest("one")).toMatchObject({ index: old.digest });
    expect(await use([shared, coming], coming.digest, 1000)).toEqual(["OTHER"]);
    expect([await here(old), await here(shared), await here(other)]).toEqual([false, true, false]);
  });

  it("takes nothing from another tab that loads the former one", async () => {
    const { made, shared, old, other, coming, use, arrives, here } = await updating("one");
    expect(await use([shared, coming], coming.digest, 1100)).toEqual(["OTHER"]);
    await arrives(coming);
    await use([shared, coming], coming.digest);
    await made.sweep();
    expect([await here(old), await here(other)]).toEqual([true, false]);
  });

  it("takes nothing from another tab that loads one that is not wholly here", async () => {
    const { made, shared, old, coming, use, arrives, here } = await updating("one");
    const some = await blob(50);
    await use([shared, some, coming]);
    await arrives(some);
    await use([shared]);
    await made.sweep();
    expect([await here(some), await here(old)]).toEqual([true, true]);
  });

  it("is read by who knows of no former ones, and what they wrote is read again", async () => {
    const { store, made, shared, old, coming, use } = await updating();
    await use([shared, coming], coming.digest);
    const text = new TextDecoder().decode((await store.readRecords()) ?? undefined);
    const { models } = JSON.parse(text) as { models: Record<string, unknown>[] };
    expect(models.at(-1)).toEqual({
      ...{ name: "one", title: "ONE", lastUsed: 3, isPinned: 0, index: coming.digest },
      blobs: [shared, coming],
      former: { index: old.digest, blobs: [shared, old] },
    });
    const older = models.map((row) => ({ ...row, former: undefined }));
    await store.writeRecords(new TextEncoder().encode(JSON.stringify({ models: older })));
    expect(await made.newest("one")).toMatchObject({ index: coming.digest });
    await made.sweep();
    expect(await store.get(old.digest)).toBeNull();
  });
});
