/**
 * Pages of a KV cache on the origin's private file system, each under the digest of the model and
 * the tokens that made it.
 *
 *     transom/prefixes/<hex>         sha256 of a page (32 bytes), then the page
 *     transom/prefixes/used.json     when each was used last
 *
 * What was used longest ago goes first when there are too many bytes. A page is found by way of those
 * before it only, so each counts as used a little before the one that it stands behind: a text loses
 * its end first, and the beginning that it shares with others last. A file that is not what was written
 * is removed as if it had never been there. Two tabs may keep the same pages; a page that the other
 * one let go of is missing, and no more.
 */
import { CREATE, read, remove, write } from "./opfs-files.ts";
import { type Bytes, digestOf, hexOf, isDigest } from "./verify.ts";

/** A few long system prompts of a model of a billion parameters, half a megabyte a page. */
const MAX_BYTES = 256 * 1024 * 1024;
const FOLDER = "transom";
const PREFIXES = "prefixes";
const USED = "used.json";
const DIGEST_BYTES = 32;
const HEX = /^[0-9a-f]{64}$/;

interface Kept {
  bytes: number;
  /** Milliseconds since 1970. */
  usedAt: number;
}

export class PrefixCache {
  readonly #folder: FileSystemDirectoryHandle;
  readonly #maxBytes: number;
  readonly #now: () => number;
  readonly #kept: Map<string, Kept>;
  /** Pages that are being written. */
  readonly #saves = new Set<Promise<boolean>>();
  /** How often all was let go of. */
  #cleared = 0;
  #writing: Promise<void> | null = null;
  #isStale = false;

  private constructor(
    folder: FileSystemDirectoryHandle,
    maxBytes: number,
    now: () => number,
    kept: Map<string, Kept>,
  ) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#now = now;
    this.#kept = kept;
  }

  /** The cache of this origin; null where the browser has no such file system, or lets nobody in. */
  static async open(
    storage: Pick<StorageManager, "getDirectory">,
    maxBytes = MAX_BYTES,
    now: () => number = Date.now,
  ): Promise<PrefixCache | null> {
    try {
      const root = await (await storage.getDirectory()).getDirectoryHandle(FOLDER, CREATE);
      const folder = await root.getDirectoryHandle(PREFIXES, CREATE);
      const cache = new PrefixCache(folder, maxBytes, now, await list(folder));
      await cache.#makeRoom(0);
      return cache;
    } catch {
      return null;
    }
  }

  /** @param key a digest, `sha256:…`. */
  async load(key: string): Promise<Bytes | null> {
    const name = nameOf(key);
    const content = await read(this.#folder, name);
    if (content === null) {
      return null;
    }
    const page = content.slice(DIGEST_BYTES);
    if (!isSame(content.subarray(0, DIGEST_BYTES), await bytesOfDigest(page))) {
      await this.#forget(name);
      return null;
    }
    // Another tab may have written it.
    const usedAt = this.#kept.get(name)?.usedAt ?? this.#now();
    this.#kept.set(name, { bytes: content.length, usedAt });
    return page;
  }

  touch(keys: readonly string[]): readonly string[] {
    const now = this.#now();
    const missing: string[] = [];
    for (const [index, key] of keys.entries()) {
      const kept = this.#kept.get(nameOf(key));
      if (kept === undefined) {
        missing.push(key);
      } else {
        kept.usedAt = now - index;
      }
    }
    this.#noteUse();
    return missing;
  }

  save(key: string, page: Uint8Array, before: string | null): Promise<boolean> {
    const saving = this.#save(key, page, before).finally(() => this.#saves.delete(saving));
    this.#saves.add(saving);
    return saving;
  }

  async #save(key: string, page: Uint8Array, before: string | null): Promise<boolean> {
    const cleared = this.#cleared;
    const name = nameOf(key);
    const usedAt =
      before === null ? this.#now() : (this.#kept.get(nameOf(before))?.usedAt ?? NaN) - 1;
    const content = new Uint8Array(DIGEST_BYTES + page.length);
    content.set(page, DIGEST_BYTES);
    content.set(await bytesOfDigest(content.subarray(DIGEST_BYTES)));
    if (Number.isNaN(usedAt) || !(await this.#makeRoom(content.length, usedAt))) {
      return false;
    }
    await write(this.#folder, name, content);
    if (cleared !== this.#cleared) {
      return false;
    }
    this.#kept.set(name, { bytes: content.length, usedAt });
    this.#noteUse();
    return true;
  }

  /** Let go of all, of other tabs' pages, too: what a conversation said is in its pages. */
  async clear(): Promise<void> {
    this.#cleared += 1;
    // A file that is being written cannot be removed.
    await Promise.allSettled(this.#saves);
    for (const name of [...this.#kept.keys(), ...(await list(this.#folder)).keys()]) {
      await this.#forget(name);
    }
    this.#noteUse();
    await this.settle();
  }

  /** Settles when what was used is written down. */
  async settle(): Promise<void> {
    while (this.#writing !== null) {
      await this.#writing;
    }
  }

  /** Of what was used before then only. @returns false where that is not enough. */
  async #makeRoom(bytes: number, usedAt = Infinity): Promise<boolean> {
    const all = [...this.#kept];
    let missing = all.reduce((sum, [, kept]) => sum + kept.bytes, bytes) - this.#maxBytes;
    const older = all
      .filter(([, kept]) => kept.usedAt < usedAt)
      .toSorted(([, one], [, other]) => one.usedAt - other.usedAt);
    if (older.reduce((sum, [, kept]) => sum + kept.bytes, 0) < missing) {
      return false;
    }
    for (const [name, kept] of older) {
      if (missing <= 0) {
        break;
      }
      await this.#forget(name);
      missing -= kept.bytes;
    }
    return true;
  }

  async #forget(name: string): Promise<void> {
    this.#kept.delete(name);
    await remove(this.#folder, name);
  }

  /** Write down what was used when; many uses in a row become few writes. */
  #noteUse(): void {
    this.#isStale = true;
    this.#writing ??= this.#writeUsed().finally(() => {
      this.#writing = null;
    });
  }

  async #writeUsed(): Promise<void> {
    while (this.#isStale) {
      this.#isStale = false;
      const used = [...this.#kept].map(([name, { usedAt }]) => [name, usedAt]);
      const bytes = new TextEncoder().encode(JSON.stringify(Object.fromEntries(used)));
      // Without it the times of writing serve.
      await write(this.#folder, USED, bytes).catch(() => undefined);
    }
  }
}

async function list(folder: FileSystemDirectoryHandle): Promise<Map<string, Kept>> {
  const used = await readUsed(folder);
  const kept = new Map<string, Kept>();
  for await (const [name, handle] of folder.entries()) {
    if (HEX.test(name) && handle.kind === "file") {
      const { size, lastModified } = await handle.getFile();
      kept.set(name, { bytes: size, usedAt: used.get(name) ?? lastModified });
    }
  }
  return kept;
}

async function readUsed(folder: FileSystemDirectoryHandle): Promise<Map<string, number>> {
  const bytes = await read(folder, USED);
  const used = new Map<string, number>();
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(bytes ?? new Uint8Array(0)));
    for (const [name, usedAt] of Object.entries(json ?? {})) {
      if (typeof usedAt === "number" && Number.isFinite(usedAt)) {
        used.set(name, usedAt);
      }
    }
  } catch {
    // Not there, or not ours: the times of writing serve.
  }
  return used;
}

function nameOf(key: string): string {
  if (!isDigest(key)) {
    throw new RangeError(`Pages are kept under a digest, not under ${JSON.stringify(key)}.`);
  }
  return hexOf(key);
}

async function bytesOfDigest(bytes: Bytes): Promise<Bytes> {
  const hex = hexOf(await digestOf(bytes));
  return Uint8Array.from({ length: DIGEST_BYTES }, (_, index) =>
    parseInt(hex.slice(2 * index, 2 * index + 2), 16),
  );
}

function isSame(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}
