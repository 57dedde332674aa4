/** A blob store in memory, for tests and for places without storage. */
import type { BlobStore, PieceStore } from "./store.ts";
import type { Bytes, Digest } from "./verify.ts";

export class MemoryStore implements BlobStore {
  readonly #blobs = new Map<Digest, Bytes>();
  readonly #pieces = new Map<Digest, MemoryPieces>();
  #records: Bytes | null = null;

  get(digest: Digest): Promise<Bytes | null> {
    return Promise.resolve(this.#blobs.get(digest) ?? null);
  }

  put(digest: Digest, bytes: Bytes): Promise<void> {
    this.#blobs.set(digest, bytes.slice());
    this.#pieces.delete(digest);
    return Promise.resolve();
  }

  delete(digest: Digest): Promise<void> {
    this.#blobs.delete(digest);
    this.#pieces.delete(digest);
    return Promise.resolve();
  }

  pieces(digest: Digest): Promise<PieceStore> {
    const pieces = this.#pieces.get(digest) ?? new MemoryPieces();
    this.#pieces.set(digest, pieces);
    return Promise.resolve(pieces);
  }

  digests(): Promise<Digest[]> {
    return Promise.resolve([...this.#blobs.keys()]);
  }

  readRecords(): Promise<Bytes | null> {
    return Promise.resolve(this.#records);
  }

  writeRecords(bytes: Bytes): Promise<void> {
    this.#records = bytes;
    return Promise.resolve();
  }
}

class MemoryPieces implements PieceStore {
  readonly #pieces = new Map<number, Bytes>();

  indices(): Promise<number[]> {
    return Promise.resolve([...this.#pieces.keys()]);
  }

  get(index: number): Promise<Bytes | null> {
    return Promise.resolve(this.#pieces.get(index) ?? null);
  }

  put(index: number, bytes: Bytes): Promise<void> {
    this.#pieces.set(index, bytes.slice());
    return Promise.resolve();
  }

  clear(): Promise<void> {
    this.#pieces.clear();
    return Promise.resolve();
  }
}
