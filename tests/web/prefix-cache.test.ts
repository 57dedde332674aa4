import { describe, expect, it } from "vitest";

import { PrefixCache } from "../../web/src/store/prefix-cache.ts";
import { FakeDirectory } from "./fake-directory.ts";

const key = (digit: string) => `sha256:${digit.repeat(64)}`;
const page = (value: number, length = 68) => new Uint8Array(length).fill(value);

/** A disk with room for three pages of 100 bytes, and a clock that goes on with every look. */
function disk() {
  const root = new FakeDirectory();
  let time = 0;
  const visit = async (maxBytes = 300): Promise<PrefixCache> => {
    const cache = await PrefixCache.open(root.storage, maxBytes, () => ++time);
    if (cache === null) {
      throw new Error("no cache");
    }
    return cache;
  };
  const folder = async () =>
    (await root.getDirectoryHandle("transom")).getDirectoryHandle("prefixes");
  return { visit, folder };
}

async function held(cache: PrefixCache, digits: string): Promise<string> {
  const found = await Promise.all(
    Array.from(digits, async (digit) => ((await cache.load(key(digit))) === null ? "" : digit)),
  );
  return found.join("");
}

describe("PrefixCache", () => {
  it("gives back what was saved, on another visit too", async () => {
    const { visit } = disk();
    const first = await visit();
    await first.save(key("a"), page(7));
    expect(await first.load(key("a"))).toEqual(page(7));
    expect(await (await visit()).load(key("a"))).toEqual(page(7));
    expect(await first.load(key("b"))).toBeNull();
  });

  it("removes a file that is not what was written", async () => {
    const { visit, folder } = disk();
    await (await visit()).save(key("a"), page(7));
    const file = await (await folder()).getFileHandle("a".repeat(64));
    file.content[50] = 8;
    expect(await (await visit()).load(key("a"))).toBeNull();
    await expect((await folder()).getFileHandle("a".repeat(64))).rejects.toThrow(/not there/);
  });

  it.each([
    ["cut short", (content: Uint8Array<ArrayBuffer>) => content.slice(0, 60)],
    ["shorter than a digest", (content: Uint8Array<ArrayBuffer>) => content.slice(0, 5)],
    ["made longer", (content: Uint8Array<ArrayBuffer>) => Uint8Array.from([...content, 1])],
  ])("takes no file that was %s", async (_, change) => {
    const { visit, folder } = disk();
    await (await visit()).save(key("a"), page(7));
    const file = await (await folder()).getFileHandle("a".repeat(64));
    file.content = change(file.content);
    expect(await (await visit()).load(key("a"))).toBeNull();
  });

  it("lets go of what was used longest ago", async () => {
    const { visit } = disk();
    const cache = await visit();
    for (const digit of "abc") {
      await cache.save(key(digit), page(1));
    }
    await cache.load(key("a"));
    await cache.save(key("d"), page(1));
    expect(await held(cache, "abcd")).toBe("acd");
  });

  it("knows on the next visit what was used when", async () => {
    const { visit } = disk();
    const first = await visit();
    for (const digit of "abc") {
      await first.save(key(digit), page(1));
    }
    await first.load(key("a"));
    await first.settle();
    const second = await visit();
    await second.save(key("d"), page(1));
    expect(await held(second, "abcd")).toBe("acd");
  });

  it("makes do with less room than it had", async () => {
    const { visit } = disk();
    const first = await visit();
    for (const digit of "abc") {
      await first.save(key(digit), page(1));
    }
    await first.settle();
    const second = await visit(200);
    expect(await held(second, "abc")).toBe("bc");
    await second.save(key("e"), page(1, 500));
    expect(await held(second, "bce")).toBe("bc");
  });

  it("is not confused by files that are not its own", async () => {
    const { visit, folder } = disk();
    await visit();
    const used = await (await folder()).getFileHandle("used.json", { create: true });
    used.content = new TextEncoder().encode("[1, {");
    await (await folder()).getFileHandle("README", { create: true });
    const cache = await visit();
    await cache.save(key("a"), page(1));
    expect(await held(cache, "a")).toBe("a");
    await expect(cache.load("../models.json")).rejects.toThrow(/under a digest/);
  });

  it("is not there where the browser lets nobody in", async () => {
    const getDirectory = () => Promise.reject(new DOMException("private", "SecurityError"));
    expect(await PrefixCache.open({ getDirectory })).toBeNull();
  });
});
