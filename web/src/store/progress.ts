/**
 * Bytes done, rate and time left of one load. Pure arithmetic on a clock given from outside.
 *
 * The rate is the network's over a short window, so it follows a connection that changes; bytes
 * from the cache count as done but say nothing about the network.
 */

import { Rate } from "../rate.ts";

export interface ByteFigures {
  doneBytes: number;
  totalBytes: number;
  bytesFromCache: number;
  bytesDownloaded: number;
  bytesPerSecond: number;
  secondsLeft: number | null;
}

export class ByteMeter {
  readonly #rate: Rate;
  #totalBytes = 0;
  #fromCache = 0;
  #finished = 0;
  /** A file that is read twice counts once. */
  readonly #whole = new Set<string>();
  /** Bytes so far of files that are still on their way. */
  readonly #partial = new Map<string, number>();

  /** @param now seconds on a clock that never goes back. */
  constructor(now: () => number) {
    this.#rate = new Rate(now);
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
    const bytesPerSecond = this.#rate.perSecond();
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
    this.#rate.sample(this.#downloadedBytes());
  }
}
