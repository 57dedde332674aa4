/**
 * Pages of a KV cache on the origin's private file system, each under the digest of the model and
 * the tokens that made it.
 *
 *     transom/prefixes/<hex>         sha256 of a page (32 bytes), then the page
 *     transom/prefixes/used.json     when each was used last
 *
 * What was used longest ago goes first when there are too many bytes. A file that is not what was
 * written is removed as if it had never been there. Two tabs may keep the same pages; a page that
 * the other one let go of is missing, and no more.
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
    this.#kept.set(name, { bytes: content.length, usedAt: this.#now() });
    this.#noteUse();
    return page;
  }

  async save(key: string, page: Uint8Array): Promise<void> {
    const name = nameOf(key);
    const content = new Uint8Array(DIGEST_BYTES + page.length);
    content.set(page, DIGEST_BYTES);
    content.set(await bytesOfDigest(content.subarray(DIGEST_BYTES)));
    if (content.length > this.#maxBytes) {
      return;
    }
    await this.#makeRoom(content.length);
    await write(this.#folder, name, content);
    this.#kept.set(name, { bytes: content.length, usedAt: this.#now() });
    this.#noteUse();
  }

  /** Settles when what was used is written down. */
  async settle(): Promise<void> {
    while (this.#writing !== null) {
      await this.#writing;
    }
  }

  async #makeRoom(bytes: number): Promise<void> {
    const oldestFirst = [...this.#kept].sort(([, one], [, other]) => one.usedAt - other.usedAt);
    let total = oldestFirst.reduce((sum, [, kept]) => sum + kept.bytes, bytes);
    for (const [name, kept] of oldestFirst) {
      if (total <= this.#maxBytes) {
        break;
      }
      await this.#forget(name);
      total -= kept.bytes;
    }
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
