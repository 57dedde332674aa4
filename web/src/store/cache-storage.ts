/**
 * A blob store on the browser's Cache API, for browsers whose file system (`opfs.ts`) cannot be had.
 *
 * An entry is written by one atomic `put`, so a closed tab leaves nothing half-written; nor does it
 * leave pieces. Keys are digests, so models that share a blob share its entry.
 */
import type { BlobStore, Held } from "./store.ts";
import { type Bytes, type Digest, hexOf, isDigest } from "./verify.ts";

const CACHE_NAME = "transom-blobs-v1";
const FOLDER = "/blobs/sha256/";
const RECORDS = "/models.json";

export class CacheStore implements BlobStore {
  readonly #cache: Cache;

  private constructor(cache: Cache) {
    this.#cache = cache;
  }

  /** The store of this origin, or null where the browser gives no storage (private windows). */
  static async open(): Promise<CacheStore | null> {
    try {
      return new CacheStore(await caches.open(CACHE_NAME));
    } catch {
      return null;
    }
  }

  async get(digest: Digest): Promise<Bytes | null> {
    const response = await this.#cache.match(keyOf(digest));
    return response === undefined ? null : new Uint8Array(await response.arrayBuffer());
  }

  async open(digest: Digest): Promise<Blob | null> {
    return (await (await this.#cache.match(keyOf(digest)))?.blob()) ?? null;
  }

  async put(digest: Digest, content: Bytes | ReadableStream<Bytes>): Promise<void> {
    await this.#cache.put(keyOf(digest), new Response(content));
  }

  async delete(digest: Digest): Promise<void> {
    await this.#cache.delete(keyOf(digest));
  }

  /** Pieces would each be an entry of their own; whoever has only this starts a file over. */
  pieces(): Promise<null> {
    return Promise.resolve(null);
  }

  async list(): Promise<Held[]> {
    const requests = await this.#cache.keys();
    const digests = requests
      .map(({ url }) => new URL(url).pathname)
      .filter((path) => path.startsWith(FOLDER))
      .map((path) => `sha256:${path.slice(FOLDER.length)}`)
      .filter(isDigest);
    return Promise.all(
      digests.map(async (digest) => {
        const blob = await this.open(digest);
        return { digest, bytes: blob?.size ?? 0, isWhole: blob !== null };
      }),
    );
  }

  removeStrays(): Promise<void> {
    return Promise.resolve();
  }

  async readRecords(): Promise<Bytes | null> {
    const response = await this.#cache.match(RECORDS);
    return response === undefined ? null : new Uint8Array(await response.arrayBuffer());
  }

  async writeRecords(bytes: Bytes): Promise<void> {
    await this.#cache.put(RECORDS, new Response(bytes));
  }
}

/** The path never meets the network; it only has to be the same for the same bytes. */
function keyOf(digest: Digest): string {
  return FOLDER + hexOf(digest);
}
