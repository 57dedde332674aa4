/**
 * A file that came as other bytes than its digest promises: its pieces are fetched once more, one after
 * the other, and compared with those that came first.
 *
 * A bit that flips on its way does so in one piece. As soon as that one is replaced the file is right,
 * and nobody asks for the pieces behind it: a flip costs half the file on average, and all of it at
 * most. `transom pull` does the same (`transom_server/transfer/fetching.py`). In memory there is one
 * piece more than what hashing needs.
 */
import { TransomError } from "../errors.ts";
import { type DownloadOptions, FileDownload } from "./file-download.ts";
import type { FileDescriptor } from "./manifest.ts";
import { PIECE_BYTES, type Piece, piecesOf } from "./pieces.ts";
import type { PieceStore } from "./store.ts";
import {
  type Bytes,
  type VerifiedBytes,
  type VerifiedFile,
  checkDigest,
  checkFile,
  digestMismatch,
  digestOf,
  digestOfFile,
} from "./verify.ts";

/**
 * How often all pieces are compared, at most. One round mends any number of them; another one is for
 * lines so bad that they flip a bit in the round itself, and three that do so are no accident. Where
 * there are more addresses than rounds, each of them has its round.
 */
const ROUNDS = 3;

/** What came, and how it becomes another. */
interface Doubted<T> {
  kept(piece: Piece): Bytes | Promise<Bytes>;
  replace(piece: Piece, fresh: Bytes): void | Promise<void>;
  /** All of it if it is right now. */
  check(): Promise<T | null>;
}

/**
 * Bytes in memory, which are changed in place.
 *
 * @param pieces where they lie as well, until the file is whole.
 * @throws TransomError `digest-mismatch`; as `downloadFile`.
 */
export async function mendBytes(
  file: FileDescriptor,
  bytes: Bytes,
  pieces: PieceStore | null,
  urls: readonly string[],
  options: DownloadOptions,
): Promise<VerifiedBytes> {
  const doubted: Doubted<VerifiedBytes> = {
    kept: ({ start, end }) => bytes.subarray(start, end),
    replace: async ({ index, start }, fresh) => {
      bytes.set(fresh, start);
      // A visit that ends here goes on with the good one.
      await pieces?.put(index, fresh).catch(() => undefined);
    },
    check: async () => {
      const result = await checkDigest(bytes, file);
      return result.ok ? result.bytes : null;
    },
  };
  const { right, hasDiffered } = await mend(file, doubted, urls, options);
  if (right === null) {
    // Otherwise the next visit would begin with what is wrong.
    await pieces?.clear();
    throw unmended(digestMismatch(file.title, file, await digestOf(bytes)), urls, hasDiffered);
  }
  return right;
}

/**
 * A file that lies on a disk and is not changed there: what is given is its good parts and the pieces
 * in place of the others.
 *
 * @throws as `mendBytes`.
 */
export async function mendFile(
  file: FileDescriptor,
  content: Blob,
  urls: readonly string[],
  options: DownloadOptions,
): Promise<VerifiedFile> {
  let now = content;
  const doubted: Doubted<VerifiedFile> = {
    kept: async ({ start, end }) => new Uint8Array(await now.slice(start, end).arrayBuffer()),
    replace: ({ start, end }, fresh) => {
      now = new Blob([now.slice(0, start), fresh, now.slice(end)]);
    },
    check: () => checkFile(now, file),
  };
  const { right, hasDiffered } = await mend(file, doubted, urls, options);
  if (right === null) {
    const actual = await digestOfFile(now, () => undefined);
    throw unmended(digestMismatch(file.title, file, actual), urls, hasDiffered);
  }
  return right;
}

async function mend<T>(
  file: FileDescriptor,
  doubted: Doubted<T>,
  urls: readonly string[],
  options: DownloadOptions,
): Promise<{ right: T | null; hasDiffered: boolean }> {
  let hasDiffered = false;
  let sameInARow = 0;
  for (let round = 1; round <= Math.max(ROUNDS, urls.length); round++) {
    // One address has all of a round: where it is the one that is right, so is the file then.
    const turn = round % urls.length;
    const inTurn = [...urls.slice(turn), ...urls.slice(0, turn)];
    const { right, differed } = await compare(file, doubted, inTurn, options);
    hasDiffered ||= differed;
    sameInARow = differed ? 0 : sameInARow + 1;
    // These are the bytes that they all have: asking once more changes nothing.
    if (right !== null || sameInARow === urls.length) {
      return { right, hasDiffered };
    }
  }
  return { right: null, hasDiffered };
}

/** One round: ends where the file is right. */
async function compare<T>(
  { title, size }: FileDescriptor,
  doubted: Doubted<T>,
  urls: readonly string[],
  options: DownloadOptions,
): Promise<{ right: T | null; differed: boolean }> {
  const pieces = piecesOf(size, options.pieceBytes ?? PIECE_BYTES);
  // Caches on the way may have kept what is wrong. One connection: the piece behind may not be needed.
  const afresh: DownloadOptions = { ...options, connections: 1, cache: "reload" };
  const download = new FileDownload(title, urls, size, pieces, afresh);
  const found: { right: T | null; differed: boolean } = { right: null, differed: false };
  try {
    await download.run(async (piece, fresh) => {
      if (isSame(await doubted.kept(piece), fresh)) {
        return;
      }
      found.differed = true;
      await doubted.replace(piece, fresh);
      found.right = await doubted.check();
      if (found.right !== null) {
        download.stop();
      }
    });
  } catch (error) {
    if (found.right === null) {
      throw error;
    }
  }
  return found;
}

function isSame(kept: Bytes, fresh: Bytes): boolean {
  return (
    kept.byteLength === fresh.byteLength && kept.every((byte, position) => byte === fresh[position])
  );
}

/** The error, and what may help. */
function unmended(
  { code, message }: TransomError,
  urls: readonly string[],
  hasDiffered: boolean,
): TransomError {
  const hosts = [...new Set(urls.map((url) => new URL(url).host))].join(" and ");
  const wayOut = hasDiffered
    ? `It came from ${hosts} as other bytes each time: something on the way changes them. Try again ` +
      "on another network, or without what filters this one."
    : `It comes from ${hosts} like this each time: whoever runs that host has to put the file there ` +
      "again.";
  return new TransomError(code, `${message} ${wayOut}`);
}
