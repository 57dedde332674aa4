/**
 * One download: the missing pieces of a file on a few connections, or all of it on one.
 *
 * A host that knows no ranges sends all of a file whatever it is asked for: the first such answer is
 * read on, and the pieces are cut from it.
 * A piece is asked for again with growing pauses, goes on at the byte where it stopped, gives up on a
 * silent connection, and may come from any of several addresses. Where the server tells a piece's
 * sha256 (RFC 9530), a bad one never leaves here. Keeps nothing: whoever takes the pieces may.
 */
import { TransomError } from "../errors.ts";
import { Addresses } from "./addresses.ts";
import { Refused, Watchdog, request, throwIfAborted } from "./network.ts";
import { Patience, type PatienceOptions, noteAnswer } from "./patience.ts";
import { type Piece, base64Of, contentDigest, pieceAddress } from "./pieces.ts";
import type { Bytes } from "./verify.ts";
import { NoRanges, type Take, cutStream } from "./whole-file.ts";

/** A connection that says nothing for this long is dead, even if nobody closed it. */
const STALL_MS = 30_000;
/** Browsers open six to one host; some are left for the page. */
const CONNECTIONS = 4;

export interface DownloadOptions extends PatienceOptions {
  /** Called with the bytes that have come; fewer than before when some were bad. */
  onBytes?: (doneBytes: number) => void;
  signal?: AbortSignal;
  /**
   * How to treat HTTP caches on the way: "reload" passes by all, "no-cache" asks again. Without, files that come in
   * pieces leave the browser's own alone: it would keep them a second time, and Chromium's begins an answer anew when
   * several connections write parts of one address.
   */
  cache?: RequestCache;
  /** Of a document: how often to ask, and how long to wait each time; without, patiently. */
  attempts?: number;
  timeoutMs?: number;
  /** Ours: whose servers may be asked for digests of pieces. Others would have to be asked first. */
  origin?: string;
  connections?: number;
  pieceBytes?: number;
  /** The file lies in pieces, as `transom_server/exchange/blob_pieces.py` cuts it. */
  isInPieces?: boolean;
  /**
   * Whether hosts (origins) send parts of files, as far as is known; learned here. Where it is given,
   * one connection finds out before there are several.
   */
  ranges?: Map<string, boolean>;
  /** For tests: the network, and as `PatienceOptions` the clock. */
  fetch?: typeof fetch;
  stallMs?: number;
}

interface Finding {
  found: Promise<void>;
  tell: () => void;
}

/** The pieces of one file, on a few connections side by side. */
export class FileDownload {
  readonly #name: string;
  readonly #size: number;
  readonly #options: DownloadOptions;
  #ended = new AbortController();
  /** What nobody has taken, and what no lane has begun. */
  readonly #missing: Set<Piece>;
  readonly #queue: Piece[];
  /** Set while one connection finds out for all whether there are ranges. */
  #finding: Finding | null = null;
  readonly #addresses: Addresses;
  #finishedBytes = 0;
  readonly #partialBytes = new Map<Piece, number>();

  constructor(
    name: string,
    urls: readonly string[],
    size: number,
    missing: readonly Piece[],
    options: DownloadOptions,
  ) {
    this.#name = name;
    this.#addresses = new Addresses(urls);
    this.#size = size;
    this.#options = options;
    this.#missing = new Set(missing);
    this.#queue = [...missing];
    if (options.ranges !== undefined && !options.isInPieces && this.#hasRanges() === undefined) {
      const finding: Finding = { found: Promise.resolve(), tell: () => undefined };
      finding.found = new Promise((resolve) => {
        finding.tell = () => {
          resolve();
        };
      });
      this.#finding = finding;
    }
  }

  async run(deliver: Take): Promise<void> {
    const { signal, connections = CONNECTIONS } = this.#options;
    const stop = () => {
      this.stop();
    };
    const take: Take = async (piece, content) => {
      this.#missing.delete(piece);
      this.#partialBytes.delete(piece);
      this.#finishedBytes += content.byteLength;
      await deliver(piece, content);
    };
    signal?.addEventListener("abort", stop);
    try {
      throwIfAborted(signal);
      if (this.#hasRanges() === false && this.#queue.some((piece) => !this.#isFile(piece))) {
        await this.#whole(take, null);
      } else {
        await this.#lanes(Math.min(connections, this.#queue.length), take);
      }
    } catch (error) {
      if (!(error instanceof NoRanges)) {
        throwIfAborted(signal);
        throw error;
      }
      this.#ended = new AbortController();
      if (signal?.aborted) {
        await error.drop();
      }
      throwIfAborted(signal);
      await this.#whole(take, error);
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
    const lane = async (_: unknown, number: number) => {
      try {
        await (number === 0 ? undefined : this.#finding?.found);
        throwIfAborted(this.#ended.signal);
        for (let piece = this.#queue.shift(); piece; piece = this.#queue.shift()) {
          throwIfAborted(this.#ended.signal);
          const content = await this.#piece(piece, this.#ended.signal);
          await take(piece, content);
        }
      } catch (error) {
        if (failure !== null && error instanceof NoRanges) {
          await error.drop();
        }
        failure ??= { error };
        this.stop();
      } finally {
        this.#finding?.tell();
      }
    };
    await Promise.all(Array.from({ length: count }, lane));
    const first = failure as { error: unknown } | null;
    if (first !== null) {
      throw first.error;
    }
  }

  /** What is missing, out of one stream of all bytes. `begun`: what a lane got instead of its piece. */
  async #whole(take: Take, begun: NoRanges | null): Promise<void> {
    const { stallMs = STALL_MS, cache = "no-store" } = this.#options;
    const { signal } = this.#ended;
    let next = begun;
    const patience = new Patience(this.#name, this.#options);
    for (let turn = 0; ; turn++) {
      const url = this.#addresses.at(turn);
      const before = this.#missing.size;
      const watchdog = next?.watchdog ?? new Watchdog(stallMs, signal);
      watchdog.follow(signal);
      try {
        this.#partialBytes.clear();
        const { body } = next?.response ?? (await this.#request(url, null, cache, watchdog.signal));
        if (body === null) {
          throw new TransomError("network", "the answer has no body");
        }
        await cutStream(this.#name, body, this.#size, [...this.#missing], take, (piece, bytes) => {
          throwIfAborted(signal);
          watchdog.calm();
          this.#partialBytes.set(piece, bytes);
          this.#tell();
        });
        return;
      } catch (error) {
        throwIfAborted(signal);
        next = null;
        const broughtSome = this.#missing.size < before;
        if (broughtSome) {
          patience.anew();
        }
        await this.#recover(error, url, patience, broughtSome);
      } finally {
        watchdog.stop();
      }
    }
  }

  /** A piece, however many attempts it takes while they bring something. */
  async #piece(piece: Piece, signal: AbortSignal | undefined): Promise<Bytes> {
    const content: Bytes = new Uint8Array(piece.end - piece.start);
    let held = 0;
    const isAll = content.byteLength === this.#size;
    let cache = this.#options.cache ?? (isAll ? "default" : "no-store");
    const patience = new Patience(this.#name, this.#options);
    let most = 0;
    // Pieces begin at different addresses, so that all mirrors have something to do; on one connection all
    // begin at the first.
    const { connections = CONNECTIONS } = this.#options;
    for (let turn = connections === 1 ? 0 : piece.index; ; turn++) {
      const before = held;
      const url = this.#addresses.at(turn);
      try {
        for await (const position of this.#receive(url, piece, content, held, cache, signal)) {
          held = position;
          this.#partialBytes.set(piece, held);
          this.#tell();
        }
        if (held === content.byteLength) {
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
          // Of an answer that was too long nothing is believed.
          held = before;
        }
        if (held > most) {
          most = held;
          patience.anew();
        }
        await this.#recover(error, url, patience, held > before);
      }
    }
  }

  /** After an attempt failed: waits until the next one may be made, or throws when none will help. */
  async #recover(
    error: unknown,
    url: string,
    patience: Patience,
    broughtSome: boolean,
  ): Promise<void> {
    if (error instanceof Refused) {
      if (this.#addresses.refuse(url)) {
        return;
      }
      throw error;
    }
    // A bad piece or a broken connection says little of a host; one that brought nothing is spared.
    if (!broughtSome && !(error instanceof BadPiece) && this.#addresses.falter(url)) {
      return;
    }
    // Damage is no outage that would be over later.
    const hosts = error instanceof BadPiece ? [] : this.#addresses.left;
    await patience.wait(error, hosts, this.#ended.signal);
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
    const { stallMs = STALL_MS, isInPieces = false } = this.#options;
    const isFile = this.#isFile(piece);
    const watchdog = new Watchdog(stallMs, signal);
    let isHandedOn = false;
    try {
      const address = isInPieces ? pieceAddress(url, piece) : url;
      const first = held + (isInPieces ? 0 : piece.start);
      const range = isFile && held === 0 ? null : `bytes=${first}-${isFile ? "" : piece.end - 1}`;
      const response = await this.#request(address, range, cache, watchdog.signal);
      // 206 goes on where we stopped; 200 is all of the file.
      const isPart = response.status === 206;
      if (!isFile) {
        this.#options.ranges?.set(new URL(url).origin, isPart);
        if (!isPart) {
          isHandedOn = true;
          throw new NoRanges(response, watchdog);
        }
        this.#finding?.tell();
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
      if (!isHandedOn) {
        watchdog.stop();
      }
    }
  }

  /** Whether the piece is all of a file. */
  #isFile({ start, end }: Piece): boolean {
    return this.#options.isInPieces === true || end - start === this.#size;
  }

  /** Of the first address; undefined: nobody knows. */
  #hasRanges(): boolean | undefined {
    return this.#options.ranges?.get(new URL(this.#addresses.at(0)).origin);
  }

  async #request(
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
    const init = { headers, cache, signal };
    const response = await request(this.#name, url, init, this.#options.fetch);
    noteAnswer(url, this.#options);
    return response;
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
