/**
 * Bytes done, rate and time left of one load. Pure arithmetic on a clock given from outside.
 *
 * The rate is the network's over a short window, so it follows a connection that changes; bytes
 * from the cache count as done but say nothing about the network.
 */

/** Long enough to be calm, short enough to notice a stall. */
const WINDOW_SECONDS = 5;
/** A rate from less than this much time is noise. */
const SHORTEST_SPAN_SECONDS = 0.25;

export interface ByteFigures {
  doneBytes: number;
  totalBytes: number;
  bytesFromCache: number;
  bytesDownloaded: number;
  bytesPerSecond: number;
  secondsLeft: number | null;
}

export class ByteMeter {
  readonly #now: () => number;
  #totalBytes = 0;
  #fromCache = 0;
  #finished = 0;
  /** A file that is read twice counts once. */
  readonly #whole = new Set<string>();
  /** Bytes so far of files that are still on their way. */
  readonly #partial = new Map<string, number>();
  readonly #samples: { at: number; bytes: number }[] = [];

  /** @param now seconds on a clock that never goes back. */
  constructor(now: () => number) {
    this.#now = now;
  }

  expect(totalBytes: number): void {
    this.#totalBytes = totalBytes;
  }

  /** A file is here, so many of its bytes from the cache and the others from the network. */
  finished(file: string, bytes: { cached: number; downloaded: number }): void {
    this.#partial.delete(file);
    if (!this.#whole.has(file)) {
      this.#whole.add(file);
      this.#fromCache += bytes.cached;
      this.#finished += bytes.downloaded;
    }
    if (bytes.downloaded > 0) {
      this.#sample();
    }
  }

  /** A download stands at this many bytes; it may go back when it starts over. */
  arrived(file: string, doneBytes: number): void {
    if (this.#whole.has(file)) {
      return;
    }
    this.#partial.set(file, doneBytes);
    this.#sample();
  }

  figures(): ByteFigures {
    const bytesDownloaded = this.#downloadedBytes();
    const doneBytes = bytesDownloaded + this.#fromCache;
    const bytesPerSecond = this.#rate();
    const bytesLeft = Math.max(0, this.#totalBytes - doneBytes);
    return {
      doneBytes,
      totalBytes: this.#totalBytes,
      bytesFromCache: this.#fromCache,
      bytesDownloaded,
      bytesPerSecond,
      secondsLeft: bytesPerSecond > 0 ? bytesLeft / bytesPerSecond : null,
    };
  }

  #downloadedBytes(): number {
    let bytes = this.#finished;
    for (const partial of this.#partial.values()) {
      bytes += partial;
    }
    return bytes;
  }

  #sample(): void {
    const at = this.#now();
    this.#samples.push({ at, bytes: this.#downloadedBytes() });
    while (this.#samples.length > 2 && (this.#samples[0]?.at ?? at) < at - WINDOW_SECONDS) {
      this.#samples.shift();
    }
  }

  #rate(): number {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (first === undefined || last === undefined) {
      return 0;
    }
    const span = this.#now() - first.at;
    return span < SHORTEST_SPAN_SECONDS ? 0 : Math.max(0, last.bytes - first.bytes) / span;
  }
}
