/**
 * Fetches files of a known size, surviving what networks do.
 *
 * A file comes in pieces, a few connections side by side; each piece is asked for again with growing
 * pauses, goes on at the byte where it stopped, gives up on a silent connection, and may come from
 * any of several addresses. Where the server tells a piece's sha256 (RFC 9530), a bad one never
 * leaves here; else the caller, who knows the file's own digest, finds out.
 */
import { TransomError } from "../errors.ts";
import {
  Later,
  RETRY_PAUSES_MS,
  Refused,
  Watchdog,
  failed,
  request,
  sleep,
  throwIfAborted,
} from "./network.ts";
import { PIECE_BYTES, type Piece, base64Of, contentDigest, piecesOf } from "./pieces.ts";
import type { PieceStore } from "./store.ts";
import type { Bytes } from "./verify.ts";

/** A connection that says nothing for this long is dead, even if nobody closed it. */
const STALL_MS = 30_000;
/** Browsers open six to one host; some are left for the page. */
const CONNECTIONS = 4;
/** An attempt that brought this much was worth it: the next one is the first again. */
const PROGRESS_BYTES = 64 * 1024;
export interface DownloadOptions {
  /** Called with the bytes that have come; fewer than before when some were bad. */
  onBytes?: (doneBytes: number) => void;
  signal?: AbortSignal;
  /** How to treat HTTP caches on the way: "reload" passes by all, "no-cache" asks again. */
  cache?: RequestCache;
  /** Ours: whose servers may be asked for digests of pieces. Others would have to be asked first. */
  origin?: string;
  connections?: number;
  pieceBytes?: number;
  /** For tests: the network and the clock. */
  fetch?: typeof fetch;
  pause?: (milliseconds: number) => Promise<void>;
  stallMs?: number;
}

/** The server sends whole files only. */
class NoRanges extends Error {}

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
    // A server without ranges sends the file as one piece, which is none of these.
    if (keeps !== null && content.byteLength < size) {
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
 * @returns false when there is no room for all of it, or the server sends no pieces.
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
  const download = new FileDownload(name, urls, size, missing, { ...options, wholeIsFine: false });
  try {
    await download.run(async (piece, content) => {
      room.isEnough &&= (await keep(kept, piece, content)) !== null;
      if (!room.isEnough) {
        download.stop();
      }
    });
  } catch (error) {
    if (room.isEnough && !(error instanceof NoRanges)) {
      throw error;
    }
    return false;
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

type Take = (piece: Piece, content: Bytes) => Promise<void>;

interface FileOptions extends DownloadOptions {
  /** Whether a server that knows no ranges may send all of the file at once. */
  wholeIsFine?: boolean;
}

/** The pieces of one file, on a few connections side by side. */
class FileDownload {
  readonly #name: string;
  readonly #size: number;
  readonly #options: FileOptions;
  readonly #ended = new AbortController();
  readonly #queue: Piece[];
  /** Addresses that have not said that they lack the file. */
  #urls: readonly string[];
  #finishedBytes = 0;
  readonly #partialBytes = new Map<Piece, number>();

  constructor(
    name: string,
    urls: readonly string[],
    size: number,
    missing: readonly Piece[],
    options: FileOptions,
  ) {
    this.#name = name;
    this.#urls = urls;
    this.#size = size;
    this.#options = options;
    this.#queue = [...missing];
  }

  async run(take: Take): Promise<void> {
    const { signal, connections = CONNECTIONS, wholeIsFine = true } = this.#options;
    const stop = () => {
      this.stop();
    };
    signal?.addEventListener("abort", stop);
    try {
      throwIfAborted(signal);
      await this.#lanes(Math.min(connections, this.#queue.length), take);
    } catch (error) {
      throwIfAborted(signal);
      if (!(error instanceof NoRanges) || !wholeIsFine) {
        throw error;
      }
      await this.#whole(take);
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  /** Let go of all connections; `run` ends with an error. */
  stop(): void {
    this.#ended.abort(new TransomError("aborted", "Stopped."));
  }

  /** All lanes at once; the first failure ends the others, and is thrown when they have ended. */
  async #lanes(count: number, take: Take): Promise<void> {
    let failure: { error: unknown } | null = null;
    const lane = async () => {
      try {
        for (let piece = this.#queue.shift(); piece; piece = this.#queue.shift()) {
          const content = await this.#piece(piece, this.#ended.signal);
          await take(piece, content);
        }
      } catch (error) {
        failure ??= { error };
        this.stop();
      }
    };
    await Promise.all(Array.from({ length: count }, lane));
    const first = failure as { error: unknown } | null;
    if (first !== null) {
      throw first.error;
    }
  }

  async #whole(take: Take): Promise<void> {
    const piece = { index: 0, start: 0, end: this.#size };
    this.#finishedBytes = 0;
    this.#partialBytes.clear();
    await take(piece, await this.#piece(piece, this.#options.signal));
  }

  /** A piece, however many attempts it takes while they bring something. */
  async #piece(piece: Piece, signal: AbortSignal | undefined): Promise<Bytes> {
    const { pause = sleep } = this.#options;
    const content: Bytes = new Uint8Array(piece.end - piece.start);
    let held = 0;
    let cache = this.#options.cache ?? "default";
    // Pieces begin at different addresses, so that all mirrors have something to do.
    for (let attempt = 0, turn = piece.index; ; attempt++, turn++) {
      const before = held;
      const url = this.#urls[turn % this.#urls.length] ?? "";
      try {
        for await (const position of this.#receive(url, piece, content, held, cache, signal)) {
          held = position;
          this.#partialBytes.set(piece, held);
          this.#tell();
        }
        if (held === content.byteLength) {
          this.#partialBytes.delete(piece);
          this.#finishedBytes += held;
          return content;
        }
        const done = `${piece.start + held} of ${this.#size} bytes`;
        throw new TransomError("network", `the connection closed after ${done}`);
      } catch (error) {
        throwIfAborted(signal);
        if (error instanceof NoRanges) {
          throw error;
        }
        if (error instanceof BadPiece) {
          held = before;
          cache = "reload";
        }
        if (error instanceof Refused) {
          const others = this.#urls.filter((other) => other !== url);
          if (others.length === 0 || error.code !== "model-not-found") {
            throw error;
          }
          this.#urls = others;
          continue;
        }
        if (held - before >= PROGRESS_BYTES) {
          attempt = 0;
        }
        const wait = RETRY_PAUSES_MS[attempt];
        if (wait === undefined) {
          throw failed(this.#name, attempt + 1, error);
        }
        await pause(error instanceof Later ? Math.max(wait, error.waitMs) : wait);
        throwIfAborted(signal);
      }
    }
  }

  /** One attempt: fills a piece from `held` on and yields each new position in it. */
  async *#receive(
    url: string,
    piece: Piece,
    content: Bytes,
    held: number,
    cache: RequestCache,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<number> {
    const { stallMs = STALL_MS } = this.#options;
    const isWhole = content.byteLength === this.#size;
    const watchdog = new Watchdog(stallMs, signal);
    try {
      const first = piece.start + held;
      const range = isWhole && held === 0 ? null : `bytes=${first}-${isWhole ? "" : piece.end - 1}`;
      const response = await this.#request(url, range, cache, watchdog.signal);
      // 206 goes on where we stopped; 200 is all of the file.
      const isPart = response.status === 206;
      if (!isPart && !isWhole) {
        await response.body?.cancel();
        throw new NoRanges();
      }
      let position = isPart ? held : 0;
      if (position !== held) {
        yield position;
      }
      const reader = response.body?.getReader();
      if (reader === undefined) {
        throw new TransomError("network", "the answer has no body");
      }
      const from = position;
      for (;;) {
        const { done, value } = await reader.read();
        if (done) {
          break;
        }
        watchdog.calm();
        if (position + value.byteLength > content.byteLength) {
          await reader.cancel();
          throw new Refused("network", `${this.#name} is longer than the manifest says.`);
        }
        content.set(value, position);
        position += value.byteLength;
        yield position;
      }
      if (position === content.byteLength) {
        await requireDigest(response, content.subarray(from));
      }
    } finally {
      watchdog.stop();
    }
  }

  #request(
    url: string,
    range: string | null,
    cache: RequestCache,
    signal: AbortSignal,
  ): Promise<Response> {
    const headers: Record<string, string> = {};
    if (range !== null) {
      headers["Range"] = range;
    }
    const { origin } = this.#options;
    if (origin !== undefined && new URL(url).origin === origin) {
      headers["Want-Content-Digest"] = "sha-256=1";
    }
    return request(this.#name, url, { headers, cache, signal }, this.#options.fetch);
  }

  #tell(): void {
    let bytes = this.#finishedBytes;
    for (const partial of this.#partialBytes.values()) {
      bytes += partial;
    }
    this.#options.onBytes?.(bytes);
  }
}

/** Bytes came that are not those which the server has. */
class BadPiece extends TransomError {}

async function requireDigest(response: Response, content: Bytes): Promise<void> {
  const told = contentDigest(response.headers.get("Content-Digest"));
  if (told === null) {
    return;
  }
  const actual = base64Of(new Uint8Array(await crypto.subtle.digest("SHA-256", content)));
  if (actual !== told) {
    throw new BadPiece("network", "a piece was damaged on its way");
  }
}

/** Fetch a small document whose size is not known before, up to a cap. */
export async function downloadDocument(
  name: string,
  url: string,
  maxBytes: number,
  options: DownloadOptions = {},
): Promise<Bytes> {
  const pause = options.pause ?? sleep;
  for (let attempt = 0; ; attempt++) {
    try {
      const init: RequestInit = { cache: options.cache ?? "default" };
      if (options.signal !== undefined) {
        init.signal = options.signal;
      }
      const response = await request(name, url, init, options.fetch);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (bytes.byteLength > maxBytes) {
        throw new Refused("network", `${name} is larger than ${maxBytes} bytes.`);
      }
      return bytes;
    } catch (error) {
      throwIfAborted(options.signal);
      const wait = RETRY_PAUSES_MS[attempt];
      if (error instanceof Refused || wait === undefined) {
        throw error instanceof Refused ? error : failed(name, attempt + 1, error);
      }
      await pause(wait);
    }
  }
}
