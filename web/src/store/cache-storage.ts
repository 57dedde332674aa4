/**
 * A blob store on the browser's Cache API.
 *
 * Chosen over OPFS because an entry is written by one atomic `put` (a closed tab leaves nothing
 * half-written) and because the service worker can answer from the same cache. Keys are digests,
 * so models that share a blob share its entry.
 */
import type { BlobStore } from "./store.ts";
import { type Bytes, type Digest, hexOf } from "./verify.ts";

const CACHE_NAME = "transom-blobs-v1";

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

  async put(digest: Digest, bytes: Bytes): Promise<void> {
    const headers = {
      "Content-Type": "application/octet-stream",
      "Content-Length": String(bytes.byteLength),
    };
    await this.#cache.put(keyOf(digest), new Response(bytes, { headers }));
  }

  async delete(digest: Digest): Promise<void> {
    await this.#cache.delete(keyOf(digest));
  }
}

/** The path never meets the network; it only has to be the same for the same bytes. */
function keyOf(digest: Digest): string {
  return `/blobs/sha256/${hexOf(digest)}`;
}
