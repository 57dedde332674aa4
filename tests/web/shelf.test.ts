import { describe, expect, it } from "vitest";

import { MemoryStore } from "../../web/src/store/memory.ts";
import { Shelf } from "../../web/src/store/shelf.ts";
import { type Promised, digestOf } from "../../web/src/store/verify.ts";
import { patternBytes } from "./bundle-fixture.ts";

async function blob(size: number, store?: MemoryStore): Promise<Promised> {
  const bytes = patternBytes(size);
  const digest = await digestOf(bytes);
  await store?.put(digest, bytes);
  return { digest, size };
}

/** Two models of 300 bytes that share 100, and what this origin holds. */
async function shelf() {
  const store = new MemoryStore();
  let now = 0;
  const made = new Shelf(
    store,
    (work) => work(),
    () => ++now,
  );
  const shared = await blob(100, store);
  const own = await blob(200, store);
  const other = await blob(201, store);
  await made.use("one", [shared, own]);
  await made.use("two", [shared, other]);
  return { store, made, shared, own, other };
}

const room = (quotaBytes: number, usedBytes: number) => () =>
  Promise.resolve({ quotaBytes, usedBytes });

describe("Shelf", () => {
  it("says what each model takes, and what would be free without it", async () => {
    const { made } = await shelf();
    expect(await made.sizes()).toMatchObject([
      { name: "two", totalBytes: 301, ownBytes: 201, isPinned: false },
      { name: "one", totalBytes: 300, ownBytes: 200, isPinned: false },
    ]);
  });

  it("forgets only what nobody else needs", async () => {
    const { store, made, shared, own } = await shelf();
    expect(await made.forget("one")).toBe(200);
    expect(await store.get(own.digest)).toBeNull();
    expect(await store.get(shared.digest)).not.toBeNull();
    expect(await made.forget("two")).toBe(301);
    expect(await store.digests()).toEqual([]);
    expect(await made.forget("two")).toBe(0);
  });

  it("lets go of what an older version of a model needed", async () => {
    const { store, made, shared, own } = await shelf();
    await made.use("one", [shared]);
    expect(await store.get(own.digest)).toBeNull();
  });

  it("makes room by what was unused for longest, and no more than it must", async () => {
    const { made } = await shelf();
    expect(await made.makeRoom(150, room(1000, 900), "new")).toEqual(["one"]);
    expect((await made.sizes()).map(({ name }) => name)).toEqual(["two"]);
  });

  it("removes nothing where there is room, nor where all of it would not do", async () => {
    const { made } = await shelf();
    expect(await made.makeRoom(100, room(1000, 900), "new")).toEqual([]);
    await expect(made.makeRoom(502, room(1000, 1000), "new")).rejects.toMatchObject({
      code: "no-room",
      message: expect.stringMatching(/^new needs 1 MB .* 1 MB too little/) as string,
    });
    expect(await made.sizes()).toHaveLength(2);
    // A byte less, and both go.
    expect(await made.makeRoom(501, room(1000, 1000), "new")).toEqual(["one", "two"]);
  });

  it("keeps pinned models, and the one that it makes room for", async () => {
    const { made } = await shelf();
    await made.pin("one", true);
    expect(await made.makeRoom(150, room(1000, 900), "new")).toEqual(["two"]);
    await expect(made.makeRoom(1, room(1000, 1000), "one")).rejects.toMatchObject({
      code: "no-room",
    });
    await expect(made.pin("nobody", true)).rejects.toMatchObject({ code: "model-not-found" });
  });

  it("stays pinned when it is used again", async () => {
    const { made, shared } = await shelf();
    await made.pin("one", true);
    await made.use("one", [shared]);
    expect(await made.sizes()).toContainEqual(
      expect.objectContaining({ name: "one", isPinned: true }),
    );
  });

  it("counts a blob once that a model names twice", async () => {
    const { made, shared } = await shelf();
    await made.forget("one");
    await made.forget("two");
    await made.use("odd", [shared, shared]);
    expect(await made.missingBytes([shared, shared])).toBe(100);
    expect((await made.sizes())[0]?.ownBytes).toBe(100);
  });

  it("sweeps blobs that no model needs", async () => {
    const { store, made } = await shelf();
    const stray = await blob(7, store);
    await made.sweep();
    expect(await store.get(stray.digest)).toBeNull();
    expect(await store.digests()).toHaveLength(3);
  });

  it("takes a damaged list for an empty one", async () => {
    const { store, made, shared } = await shelf();
    await store.writeRecords(new TextEncoder().encode('{"models": [{"name": 3}]}'));
    expect(await made.sizes()).toEqual([]);
    await made.use("one", [shared]);
    expect(await made.sizes()).toHaveLength(1);
  });
});
