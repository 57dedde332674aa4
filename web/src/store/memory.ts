/** A blob store in memory, for tests and for places without storage. */
import type { BlobStore, Held, PieceStore } from "./store.ts";
import type { Bytes, Digest } from "./verify.ts";

export class MemoryStore implements BlobStore {
  readonly #blobs = new Map<Digest, Bytes>();
  readonly #pieces = new Map<Digest, MemoryPieces>();
  #records: Bytes | null = null;

  get(digest: Digest): Promise<Bytes | null> {
    return Promise.resolve(this.#blobs.get(digest) ?? null);
  }

  open(digest: Digest): Promise<Blob | null> {
    const bytes = this.#blobs.get(digest);
    return Promise.resolve(bytes === undefined ? null : new Blob([bytes]));
  }

  async put(digest: Digest, content: Bytes | ReadableStream<Bytes>): Promise<void> {
    this.#blobs.set(digest, new Uint8Array(await new Response(content).arrayBuffer()));
    this.#pieces.delete(digest);
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

  list(): Promise<Held[]> {
    const whole = [...this.#blobs].map(([digest, { byteLength }]) => ({
      digest,
      bytes: byteLength,
      isWhole: true,
    }));
    const partial = [...this.#pieces].map(([digest, { bytes }]) => ({
      digest,
      bytes,
      isWhole: false,
    }));
    return Promise.resolve([...whole, ...partial.filter(({ bytes }) => bytes > 0)]);
  }

  removeStrays(): Promise<void> {
    return Promise.resolve();
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

  get bytes(): number {
    return [...this.#pieces.values()].reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

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
