/** The place that keeps blobs by digest. A miss is null; a lost blob is only a slower visit. */
import type { Bytes, Digest } from "./verify.ts";

export interface BlobStore {
  /** The bytes as they were put, or null when they are not here. Not verified: storage can rot. */
  get(digest: Digest): Promise<Bytes | null>;
  /** The same as a file, of which nothing is read yet. */
  open(digest: Digest): Promise<Blob | null>;
  /**
   * Keep the bytes, and let go of pieces of them.
   *
   * @throws when there is no room, or what the stream throws; nothing half-written stays behind.
   */
  put(digest: Digest, content: Bytes | ReadableStream<Bytes>): Promise<void>;
  /** Forget the blob and its pieces; no error when it is not here. */
  delete(digest: Digest): Promise<void>;
  /** Pieces of a blob that is on its way, null where this store keeps none. */
  pieces(digest: Digest): Promise<PieceStore | null>;
  /** All blobs of which there is something. */
  list(): Promise<Held[]>;
  /** Forget what a killed browser left half-written. Nobody may be writing. */
  removeStrays(): Promise<void>;
  /** A small document beside the blobs: what is here for whom (`shelf-records.ts`). */
  readRecords(): Promise<Bytes | null>;
  writeRecords(bytes: Bytes): Promise<void>;
}

/** What is here of a blob. */
export interface Held {
  digest: Digest;
  bytes: number;
  /** False: pieces of it. */
  isWhole: boolean;
}

/** Pieces of one blob, by their number. Not verified either. */
export interface PieceStore {
  /** The numbers of those that are here. */
  indices(): Promise<number[]>;
  get(index: number): Promise<Bytes | null>;
  /** @throws when there is no room. */
  put(index: number, bytes: Bytes): Promise<void>;
  clear(): Promise<void>;
}
