/**
 * Digests: parse, compute, compare. The only hashing code in the web room.
 *
 * `VerifiedBytes` can be made here only, so a function that takes them cannot be handed bytes that
 * nobody checked.
 */
import { TransomError } from "../errors.ts";
import { Sha256 } from "./sha256.ts";

/** Bytes in memory of their own, as WebCrypto, Response and WebGPU want them. */
export type Bytes = Uint8Array<ArrayBuffer>;

export type Digest = `sha256:${string}`;

declare const verified: unique symbol;
/** Bytes whose sha256 is the one their descriptor promised. */
export type VerifiedBytes = Bytes & { readonly [verified]: true };

/** The same of a file that stays where it is. */
export type VerifiedFile = Blob & { readonly [verified]: true };

/** What bytes are promised to be. */
export interface Promised {
  digest: Digest;
  size: number;
}

/** Up to here a file is read into memory as a whole. */
export const IN_MEMORY_BYTES = 256 * 1024 * 1024;
const DIGEST_PATTERN = /^sha256:[0-9a-f]{64}$/;

export function isDigest(text: unknown): text is Digest {
  return typeof text === "string" && DIGEST_PATTERN.test(text);
}

/** The 64 hex digits alone, as they stand in blob paths. */
export function hexOf(digest: Digest): string {
  return digest.slice("sha256:".length);
}

/** sha256 of the exact bytes. WebCrypto has no streaming form, so a blob is hashed whole. */
export async function digestOf(bytes: Bytes): Promise<Digest> {
  return spell(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
}

/**
 * sha256 of a file of any size; one that is too large for memory at a fifth of the speed.
 *
 * @param onBytes called with the bytes read so far; what it throws ends the reading.
 */
export async function digestOfFile(
  file: Blob,
  onBytes: (doneBytes: number) => void,
): Promise<Digest> {
  if (file.size <= IN_MEMORY_BYTES) {
    return digestOf(new Uint8Array(await file.arrayBuffer()));
  }
  const hash = new Sha256();
  const reader = file.stream().getReader();
  let done = 0;
  try {
    for (let chunk = await reader.read(); !chunk.done; chunk = await reader.read()) {
      hash.update(chunk.value);
      done += chunk.value.byteLength;
      onBytes(done);
    }
  } finally {
    await reader.cancel();
  }
  return spell(hash.digest());
}

function spell(hash: Uint8Array): Digest {
  let hex = "";
  for (const byte of hash) {
    hex += byte.toString(16).padStart(2, "0");
  }
  return `sha256:${hex}`;
}

/** The bytes as verified, or the digest that they really have. */
export async function checkDigest(
  bytes: Bytes,
  promised: Promised,
): Promise<{ ok: true; bytes: VerifiedBytes } | { ok: false; actual: Digest }> {
  const actual = await digestOf(bytes);
  if (actual === promised.digest && bytes.byteLength === promised.size) {
    return { ok: true, bytes: bytes as VerifiedBytes };
  }
  return { ok: false, actual };
}

/** The file as verified, or null when it is another one. */
export async function checkFile(file: Blob, promised: Promised): Promise<VerifiedFile | null> {
  const isPromised =
    file.size === promised.size && (await digestOfFile(file, () => undefined)) === promised.digest;
  return isPromised ? (file as VerifiedFile) : null;
}

/** Verified bytes as a file. */
export function fileOf(bytes: VerifiedBytes): VerifiedFile {
  return new Blob([bytes]) as VerifiedFile;
}

/** The error for bytes that are not what they should be, naming the file and both digests. */
export function digestMismatch(file: string, promised: Promised, actual: Digest): TransomError {
  return new TransomError(
    "digest-mismatch",
    `${file} is not the file the manifest names: expected ${promised.digest}, got ${actual}.`,
  );
}

/** Check once, with an error on mismatch. */
export async function verifyBlob(
  file: string,
  bytes: Bytes,
  promised: Promised,
): Promise<VerifiedBytes> {
  const result = await checkDigest(bytes, promised);
  if (!result.ok) {
    throw digestMismatch(file, promised, result.actual);
  }
  return result.bytes;
}
