import { describe, expect, it } from "vitest";

import { MemoryStore } from "../../web/src/store/memory.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Promised, digestOf } from "../../web/src/store/verify.ts";
import { patternBytes } from "./bundle-fixture.ts";
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

const room = (quotaBytes: number, usedBytes: number) => () =>
  Promise.resolve({ quotaBytes, usedBytes });

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
    expect(await made.makeRoom(150, room(1000, 900), NEW)).toEqual(["ONE"]);
    expect((await made.sizes()).map(({ id }) => id)).toEqual(["two"]);
  });

  it("makes no room by what another tab is loading", async () => {
    const { made } = await shelf("one");
    expect(await made.evictableBytes("new")).toBe(201);
    expect(await made.makeRoom(150, room(1000, 900), NEW)).toEqual(["TWO"]);
    await expect(made.makeRoom(1, room(1000, 1000), NEW)).rejects.toMatchObject({
      code: "no-room",
    });
  });

  it("counts a model that is used again as used last", async () => {
    const { made } = await shelf();
    expect(await made.useAgain("one")).toMatchObject({ id: "one", blobs: [{}, {}] });
    expect(await made.useAgain("nobody")).toBeNull();
    expect(await made.makeRoom(150, room(1000, 900), NEW)).toEqual(["TWO"]);
  });

  it("removes nothing where there is room, nor where all of it would not do", async () => {
    const { made } = await shelf();
    expect(await made.makeRoom(100, room(1000, 900), NEW)).toEqual([]);
    await expect(made.makeRoom(502, room(1000, 1000), NEW)).rejects.toMatchObject({
      code: "no-room",
      message: expect.stringMatching(/^NEW needs 1 MB .* 1 MB too little/) as string,
    });
    expect(await made.sizes()).toHaveLength(2);
    expect(await made.evictableBytes("new")).toBe(501);
    // A byte less, and both go.
    expect(await made.makeRoom(501, room(1000, 1000), NEW)).toEqual(["ONE", "TWO"]);
  });

  it("keeps pinned models, and the one that it makes room for", async () => {
    const { made } = await shelf();
    await made.pin("one", true);
    expect(await made.evictableBytes("new")).toBe(201);
    expect(await made.makeRoom(150, room(1000, 900), NEW)).toEqual(["TWO"]);
    await expect(made.makeRoom(1, room(1000, 1000), named("one"))).rejects.toMatchObject({
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
