/**
 * Fetches one file of a known size into memory, surviving what networks do.
 *
 * Retries with growing pauses, resumes at the byte where the server allows it (Range), gives up on
 * a silent connection. It does not know digests: the caller verifies before anyone uses the bytes.
 */
import { TransomError, describe } from "../errors.ts";
import type { Bytes } from "./verify.ts";

/** Pauses before the second, third, … attempt. */
const RETRY_PAUSES_MS = [500, 1500, 4000, 8000] as const;
/** A connection that says nothing for this long is dead, even if nobody closed it. */
const STALL_MS = 30_000;

export interface DownloadOptions {
  /** Called with the bytes held so far; they may fall back to 0 when a server cannot resume. */
  onBytes?: (doneBytes: number) => void;
  signal?: AbortSignal;
  /** How to treat HTTP caches on the way: "reload" passes by all, "no-cache" asks again. */
  cache?: RequestCache;
  /** For tests: the network and the clock. */
  fetch?: typeof fetch;
  pause?: (milliseconds: number) => Promise<void>;
  stallMs?: number;
}

/** An answer that will not get better by asking again. */
class Refused extends TransomError {}

/**
 * Fetch a file of exactly `size` bytes.
 *
 * @throws TransomError `model-not-found` (404), `network` (after the last attempt, or when the
 *   server sends more than promised), `aborted`.
 */
export async function downloadFile(
  name: string,
  url: string,
  size: number,
  options: DownloadOptions = {},
): Promise<Bytes> {
  const bytes: Bytes = new Uint8Array(size);
  const pause = options.pause ?? sleep;
  let held = 0;
  for (let attempt = 0; ; attempt++) {
    try {
      for await (const position of receive(name, url, bytes, held, options)) {
        held = position;
        options.onBytes?.(held);
      }
      if (held === size) {
        return bytes;
      }
      throw new TransomError("network", `the connection closed after ${held} of ${size} bytes`);
    } catch (error) {
      throwIfAborted(options.signal);
      const wait = RETRY_PAUSES_MS[attempt];
      if (error instanceof Refused || wait === undefined) {
        throw error instanceof Refused ? error : failed(name, attempt + 1, error);
      }
      await pause(wait);
      throwIfAborted(options.signal);
    }
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
      const response = await request(name, url, 0, options, options.signal);
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

/** One attempt: fills `bytes` from `start` on and yields each new position. */
async function* receive(
  name: string,
  url: string,
  bytes: Bytes,
  start: number,
  options: DownloadOptions,
): AsyncGenerator<number> {
  const watchdog = new Watchdog(options.stallMs ?? STALL_MS, options.signal);
  try {
    const response = await request(name, url, start, options, watchdog.signal);
    // 206 continues where we stopped; 200 is the whole file again.
    let position = response.status === 206 ? start : 0;
    if (position !== start) {
      yield position;
    }
    const reader = response.body?.getReader();
    if (reader === undefined) {
      throw new TransomError("network", "the answer has no body");
    }
    for (;;) {
      const { done, value } = await reader.read();
      if (done) {
        return;
      }
      watchdog.calm();
      if (position + value.byteLength > bytes.byteLength) {
        await reader.cancel();
        throw new Refused("network", `${name} is longer than the manifest says.`);
      }
      bytes.set(value, position);
      position += value.byteLength;
      yield position;
    }
  } finally {
    watchdog.stop();
  }
}

async function request(
  name: string,
  url: string,
  start: number,
  options: DownloadOptions,
  signal: AbortSignal | undefined,
): Promise<Response> {
  const init: RequestInit = { cache: options.cache ?? "default" };
  if (signal !== undefined) {
    init.signal = signal;
  }
  if (start > 0) {
    init.headers = { Range: `bytes=${start}-` };
  }
  const response = await (options.fetch ?? fetch)(url, init);
  if (response.ok) {
    return response;
  }
  if (response.status === 404) {
    throw new Refused("model-not-found", `${name} is not on the server (404).`);
  }
  const passing = response.status >= 500 || response.status === 408 || response.status === 429;
  const text = `the server answered ${response.status} ${response.statusText}`.trim();
  throw passing ? new TransomError("network", text) : new Refused("network", `${name}: ${text}.`);
}

/** Aborts an attempt that has gone quiet, or that the caller stopped. */
class Watchdog {
  readonly #controller = new AbortController();
  readonly #stallMs: number;
  readonly #caller: AbortSignal | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(stallMs: number, caller: AbortSignal | undefined) {
    this.#stallMs = stallMs;
    this.#caller = caller;
    caller?.addEventListener("abort", this.#onCallerAbort);
    this.calm();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  calm(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      const seconds = Math.round(this.#stallMs / 1000);
      this.#controller.abort(new TransomError("network", `nothing arrived for ${seconds} s`));
    }, this.#stallMs);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#onCallerAbort);
  }

  readonly #onCallerAbort = (): void => {
    this.#controller.abort(this.#caller?.reason);
  };
}

function failed(name: string, attempts: number, error: unknown): TransomError {
  return new TransomError(
    "network",
    `${name} could not be downloaded (${attempts} attempts): ${describe(error)}.`,
    { cause: error },
  );
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new TransomError("aborted", "Stopped.");
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
