/** A file that lies in pieces, as one stream. */
import { TransomError } from "../errors.ts";
import type { FileDescriptor } from "./manifest.ts";
import { piecesOf } from "./pieces.ts";
import type { PieceStore } from "./store.ts";
import type { Bytes } from "./verify.ts";

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
