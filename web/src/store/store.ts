/** The place that keeps blobs by digest. A miss is null; a lost blob is only a slower visit. */
import type { Bytes, Digest } from "./verify.ts";

export interface BlobStore {
  /** The bytes as they were put, or null when they are not here. Not verified: storage can rot. */
  get(digest: Digest): Promise<Bytes | null>;
  /** Keep the bytes. @throws when there is no room; nothing half-written stays behind. */
  put(digest: Digest, bytes: Bytes): Promise<void>;
  /** Forget the blob; no error when it is not here. */
  delete(digest: Digest): Promise<void>;
}
