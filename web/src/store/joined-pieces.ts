/** A file that lies in pieces, as one stream, and as the one file that it becomes. */
import { TransomError } from "../errors.ts";
import type { FileDescriptor } from "./manifest.ts";
import { piecesOf } from "./pieces.ts";
import type { BlobStore, PieceStore } from "./store.ts";
import { type Bytes, type Promised, type VerifiedFile, checkFile } from "./verify.ts";

/** What lies in pieces, from the first byte on. Errs where a piece is missing. */
export function streamOf(
  pieces: PieceStore,
  { size }: FileDescriptor,
  pieceBytes: number,
): ReadableStream<Bytes> {
  const all = piecesOf(size, pieceBytes).values();
  return new ReadableStream({
    async pull(controller) {
      const next = all.next();
      if (next.done) {
        controller.close();
        return;
      }
      const { index, start, end } = next.value;
      const bytes = await pieces.get(index);
      if (bytes?.byteLength !== end - start) {
        throw new TransomError("internal", `piece ${index} is gone`);
      }
      controller.enqueue(bytes);
    },
  });
}

/** A file that is here, as verified; one that is not what it should be is dropped. */
export async function openKept(
  store: BlobStore | null,
  file: Promised,
): Promise<VerifiedFile | null> {
  const kept = await store?.open(file.digest);
  if (store === null || kept === null || kept === undefined) {
    return null;
  }
  const checked = await checkFile(kept, file);
  if (checked === null) {
    await store.delete(file.digest);
  }
  return checked;
}

/**
 * Put a file there, and give it back verified; null where there is no room for it.
 *
 * @param mend makes it right where it came wrong.
 * @throws what `mend` throws; nothing stays then.
 */
export async function layDown(
  store: BlobStore | null,
  file: Promised,
  content: ReadableStream<Bytes>,
  mend: (joined: Blob) => Promise<VerifiedFile>,
): Promise<VerifiedFile | null> {
  try {
    await store?.put(file.digest, content);
  } catch {
    return null;
  }
  const joined = await store?.open(file.digest);
  if (store === null || joined?.size !== file.size) {
    return null;
  }
  const checked = await checkFile(joined, file);
  if (checked !== null) {
    return checked;
  }
  let mended: VerifiedFile;
  try {
    mended = await mend(joined);
  } catch (error) {
    await store.delete(file.digest);
    throw error;
  }
  try {
    await store.put(file.digest, mended.stream());
  } catch {
    // No room for a second one while the first is there: this visit does with what it has.
    return mended;
  }
  return openKept(store, file);
}
