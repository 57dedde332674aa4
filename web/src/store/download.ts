/**
 * Fetches files of a known size, surviving what networks do.
 *
 * A file comes in pieces, a few connections side by side (`file-download.ts`); what has come is kept,
 * so a visit that is cut short costs little. In an export for hosts that take small files only each
 * piece is a file. The caller, who knows the file's own digest, finds out whether it is the right one.
 */
import { TransomError } from "../errors.ts";
import { stoppable } from "../stopping.ts";
import { type DownloadOptions, FileDownload } from "./file-download.ts";
import { RETRY_PAUSES_MS, Refused, failed, request, sleep, throwIfAborted } from "./network.ts";
import { PIECE_BYTES, type Piece, piecesOf } from "./pieces.ts";
import type { PieceStore } from "./store.ts";
import { type Bytes, type Promised, verifyBlob } from "./verify.ts";

export type { DownloadOptions };

/**
 * Fetch a file of exactly `size` bytes into memory, from any of `urls`.
 *
 * @param kept pieces from before are taken, and new ones kept there until the file is whole.
 * @throws TransomError `model-not-found` (404 everywhere), `network` (after the last attempt, or
 *   when the server sends more than promised), `aborted`.
 */
export async function downloadFile(
  name: string,
  urls: readonly string[],
  size: number,
  kept: PieceStore | null,
  options: DownloadOptions = {},
): Promise<Bytes> {
  const bytes: Bytes = new Uint8Array(size);
  const pieces = piecesOf(size, options.pieceBytes ?? PIECE_BYTES);
  let keeps = pieces.length > 1 ? kept : null;
  const missing: Piece[] = [];
  const here = new Set(await keeps?.indices());
  for (const piece of pieces) {
    const old = here.has(piece.index) ? await keeps?.get(piece.index) : null;
    if (old?.byteLength === piece.end - piece.start) {
      bytes.set(old, piece.start);
    } else {
      missing.push(piece);
    }
  }
  await new FileDownload(name, urls, size, missing, options).run(async (piece, content) => {
    bytes.set(content, piece.start);
    if (keeps !== null) {
      keeps = await keep(keeps, piece, content);
    }
  });
  return bytes;
}

/**
 * Fetch what is missing of a file into `kept`, without holding it in memory.
 *
 * It is not verified: `downloadFile` finds the pieces there, and its caller verifies.
 *
 * @returns false when there is no room for all of it.
 * @throws as `downloadFile`.
 */
export async function downloadAhead(
  name: string,
  urls: readonly string[],
  size: number,
  kept: PieceStore,
  options: DownloadOptions = {},
): Promise<boolean> {
  const here = new Set(await kept.indices());
  const pieces = piecesOf(size, options.pieceBytes ?? PIECE_BYTES);
  const missing = pieces.filter(({ index }) => !here.has(index));
  const room = { isEnough: true };
  const download = new FileDownload(name, urls, size, missing, options);
  try {
    await download.run(async (piece, content) => {
      room.isEnough &&= (await keep(kept, piece, content)) !== null;
      if (!room.isEnough) {
        download.stop();
      }
    });
  } catch (error) {
    if (room.isEnough) {
      throw error;
    }
  }
  return room.isEnough;
}

async function keep(kept: PieceStore, piece: Piece, content: Bytes): Promise<PieceStore | null> {
  try {
    await kept.put(piece.index, content);
    return kept;
  } catch {
    // No room: the file is only held in memory, and begins anew when the visit ends.
    return null;
  }
}

/**
 * Fetch a small document whose size is not known before, up to a cap, from the first of `urls` that has it.
 *
 * @param promised what it shall be, null where nobody knows: one that came wrong is asked for once more.
 * @throws TransomError as `downloadFile`, and `digest-mismatch`.
 */
export async function downloadDocument(
  name: string,
  urls: readonly string[],
  maxBytes: number,
  promised: Promised | null,
  options: DownloadOptions = {},
): Promise<Bytes> {
  const { pause = sleep, attempts = Infinity, signal } = options;
  let { cache = "default" } = options;
  let left = urls;
  let refusal: Refused | null = null;
  for (let attempt = 0; ; attempt++) {
    let failure: unknown;
    for (const url of left) {
      try {
        const bytes = await askForDocument(name, url, maxBytes, { ...options, cache });
        return promised === null ? bytes : await verifyBlob(name, bytes, promised);
      } catch (error) {
        throwIfAborted(signal);
        if (error instanceof Refused) {
          left = left.filter((other) => other !== url);
          // The host's own word before a mirror's.
          refusal ??= error;
        } else {
          failure = error;
        }
      }
    }
    if (refusal !== null && left.length === 0) {
      throw refusal;
    }
    if (failure instanceof TransomError && failure.code === "digest-mismatch") {
      if (cache === "reload") {
        throw failure;
      }
      cache = "reload";
      continue;
    }
    const wait = attempt + 1 < attempts ? RETRY_PAUSES_MS[attempt] : undefined;
    if (wait === undefined) {
      throw failed(name, attempt + 1, failure);
    }
    await stoppable(pause(wait), signal);
  }
}

async function askForDocument(
  name: string,
  url: string,
  maxBytes: number,
  { cache, signal, timeoutMs, fetch }: DownloadOptions,
): Promise<Bytes> {
  const signals = signal === undefined ? [] : [signal];
  if (timeoutMs !== undefined) {
    signals.push(AbortSignal.timeout(timeoutMs));
  }
  const init: RequestInit = {
    ...(cache && { cache }),
    ...(signals.length > 0 && { signal: AbortSignal.any(signals) }),
  };
  const response = await request(name, url, init, fetch);
  const bytes = new Uint8Array(await response.arrayBuffer());
  if (bytes.byteLength > maxBytes) {
    throw new Refused("network", `${name} is larger than ${maxBytes} bytes.`);
  }
  return bytes;
}
