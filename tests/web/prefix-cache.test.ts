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
    const cache = await PrefixCache.open(root.storage, maxBytes, () => (time += 100));
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
    await first.save(key("a"), page(7), null);
    expect(await first.load(key("a"))).toEqual(page(7));
    expect(await (await visit()).load(key("a"))).toEqual(page(7));
    expect(await first.load(key("b"))).toBeNull();
  });

  it("removes a file that is not what was written", async () => {
    const { visit, folder } = disk();
    await (await visit()).save(key("a"), page(7), null);
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
    await (await visit()).save(key("a"), page(7), null);
    const file = await (await folder()).getFileHandle("a".repeat(64));
    file.content = change(file.content);
    expect(await (await visit()).load(key("a"))).toBeNull();
  });

  it("lets go of what was used longest ago", async () => {
    const { visit } = disk();
    const cache = await visit();
    for (const digit of "abc") {
      await cache.save(key(digit), page(1), null);
    }
    cache.touch([key("a")]);
    await cache.save(key("d"), page(1), null);
    expect(await held(cache, "abcd")).toBe("acd");
  });

  it("knows on the next visit what was used when", async () => {
    const { visit } = disk();
    const first = await visit();
    for (const digit of "abc") {
      await first.save(key(digit), page(1), null);
    }
    first.touch([key("a")]);
    await first.settle();
    const second = await visit();
    await second.save(key("d"), page(1), null);
    expect(await held(second, "abcd")).toBe("acd");
  });

  /** Save a text's pages in their order. @returns how many had room. */
  async function keep(cache: PrefixCache, digits: string): Promise<number> {
    let before: string | null = null;
    for (const [index, digit] of Array.from(digits).entries()) {
      if (!(await cache.save(key(digit), page(1), before))) {
        return index;
      }
      before = key(digit);
    }
    return digits.length;
  }

  it("a text loses its end first, and never its beginning to its own end", async () => {
    const cache = await disk().visit();
    expect(await keep(cache, "ab")).toBe(2);
    // Another text, of which there is room for the beginning only: it is used later.
    expect(await keep(cache, "cd")).toBe(2);
    expect(await held(cache, "abcd")).toBe("acd");
    expect(await keep(cache, "0123")).toBe(3);
    expect(await held(cache, "acd0123")).toBe("012");
  });

  it("what two texts begin with stays longest", async () => {
    const cache = await disk().visit();
    await keep(cache, "ab");
    expect(cache.touch([key("a"), key("c")])).toEqual([key("c")]);
    await cache.save(key("c"), page(1), key("a"));
    await keep(cache, "d");
    expect(await held(cache, "abcd")).toBe("acd");
  });

  it("keeps no page behind one that is not here", async () => {
    const cache = await disk().visit();
    expect(await cache.save(key("b"), page(1), key("a"))).toBe(false);
    expect(await held(cache, "b")).toBe("");
  });

  it("lets go of all when asked, and begins anew", async () => {
    const { visit } = disk();
    const cache = await visit();
    await keep(cache, "ab");
    // Another tab.
    await keep(await visit(), "c");
    await cache.clear();
    expect(await held(cache, "abc")).toBe("");
    expect(await keep(cache, "d")).toBe(1);
    await cache.settle();
    expect(await held(await visit(), "abcd")).toBe("d");
  });

  it("lets go of what is being written, too, and of what would have followed", async () => {
    const { visit } = disk();
    const cache = await visit();
    const saving = cache.save(key("a"), page(7), null);
    await cache.clear();
    await expect(saving).resolves.toBe(false);
    expect(await held(await visit(), "a")).toBe("");
    await expect(cache.save(key("b"), page(7), null)).resolves.toBe(true);
  });

  it("makes do with less room than it had", async () => {
    const { visit } = disk();
    const first = await visit();
    for (const digit of "abc") {
      await first.save(key(digit), page(1), null);
    }
    await first.settle();
    const second = await visit(200);
    expect(await held(second, "abc")).toBe("bc");
    await second.save(key("e"), page(1, 500), null);
    expect(await held(second, "bce")).toBe("bc");
  });

  it("is not confused by files that are not its own", async () => {
    const { visit, folder } = disk();
    await visit();
    const used = await (await folder()).getFileHandle("used.json", { create: true });
    used.content = new TextEncoder().encode("[1, {");
    await (await folder()).getFileHandle("README", { create: true });
    const cache = await visit();
    await cache.save(key("a"), page(1), null);
    expect(await held(cache, "a")).toBe("a");
    await expect(cache.load("../models.json")).rejects.toThrow(/under a digest/);
  });

  it("is not there where the browser lets nobody in", async () => {
    const getDirectory = () => Promise.reject(new DOMException("private", "SecurityError"));
    expect(await PrefixCache.open({ getDirectory })).toBeNull();
  });
});
