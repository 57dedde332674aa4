/** A blob store in memory, for tests and for places without storage. */
import type { BlobStore } from "./store.ts";
import type { Bytes, Digest } from "./verify.ts";

export class MemoryStore implements BlobStore {
  readonly #blobs = new Map<Digest, Bytes>();

  get(digest: Digest): Promise<Bytes | null> {
    return Promise.resolve(this.#blobs.get(digest) ?? null);
  }

  put(digest: Digest, bytes: Bytes): Promise<void> {
    this.#blobs.set(digest, bytes.slice());
    return Promise.resolve();
  }

  delete(digest: Digest): Promise<void> {
    this.#blobs.delete(digest);
    return Promise.resolve();
  }
}
