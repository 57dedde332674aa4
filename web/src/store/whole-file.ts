/**
 * A file as the one stream that a host without ranges sends, cut into the pieces that are missing.
 *
 * `python -m http.server` and some static hosts send whole files only. What has come when the line
 * breaks stays; the next attempt passes over it.
 */
import { TransomError } from "../errors.ts";
import { Refused, type Watchdog } from "./network.ts";
import type { Piece } from "./pieces.ts";
import type { Bytes } from "./verify.ts";

/** The server sends whole files only; it has begun to. */
export class NoRanges extends Error {
  readonly response: Response;
  readonly watchdog: Watchdog;

  constructor(response: Response, watchdog: Watchdog) {
    super("no ranges");
    this.response = response;
    this.watchdog = watchdog;
    // The other connections end, this one goes on.
    watchdog.follow(undefined);
  }

  async drop(): Promise<void> {
    this.watchdog.stop();
    await this.response.body?.cancel();
  }
}

/** Called with each missing piece when all of it is there. */
export type Take = (piece: Piece, content: Bytes) => Promise<void>;

/**
 * @param onBytes how much is there of the piece that is coming now.
 * @throws TransomError `network` when the stream ends early; `Refused` when it is longer than `size`.
 */
export async function cutStream(
  name: string,
  body: ReadableStream<Uint8Array>,
  size: number,
  missing: readonly Piece[],
  take: Take,
  onBytes: (piece: Piece, bytes: number) => void,
): Promise<void> {
  const reader = body.getReader();
  try {
    await cut(name, reader, size, missing, take, onBytes);
  } catch (error) {
    await reader.cancel().catch(() => undefined);
    throw error;
  }
}

async function cut(
  name: string,
  reader: ReadableStreamDefaultReader<Uint8Array>,
  size: number,
  missing: readonly Piece[],
  take: Take,
  onBytes: (piece: Piece, bytes: number) => void,
): Promise<void> {
  const queue = [...missing];
  let piece = queue.shift();
  let content: Bytes = new Uint8Array(piece === undefined ? 0 : piece.end - piece.start);
  let position = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    if (position + value.byteLength > size) {
      throw new Refused("network", `${name} is longer than the manifest says.`);
    }
    const end = position + value.byteLength;
    while (piece !== undefined && end > piece.start) {
      const from = Math.max(position, piece.start);
      const to = Math.min(end, piece.end);
      content.set(value.subarray(from - position, to - position), from - piece.start);
      onBytes(piece, to - piece.start);
      if (to < piece.end) {
        break;
      }
      await take(piece, content);
      piece = queue.shift();
      content = new Uint8Array(piece === undefined ? 0 : piece.end - piece.start);
    }
    position = end;
    // The rest is here already, or nobody wants it.
    if (piece === undefined && position < size) {
      await reader.cancel();
      return;
    }
  }
  if (position < size) {
    throw new TransomError("network", `the connection closed after ${position} of ${size} bytes`);
  }
}
