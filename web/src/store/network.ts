/** What asking a server once takes: its refusals, its silence, and the pauses before a stranger is asked again. */
import { TransomError, describe } from "../errors.ts";

/** Pauses before the second, third, … attempt. */
export const RETRY_PAUSES_MS = [500, 1500, 4000, 8000] as const;
/** A server that wants to be left alone for longer is not waited for. */
const MAX_RETRY_AFTER_MS = 60_000;

/** An answer that will not get better by asking again. */
export class Refused extends TransomError {}

/** The server is there, and says when to come back. */
export class Later extends TransomError {
  readonly waitMs: number;

  constructor(message: string, waitMs: number) {
    super("network", message);
    this.waitMs = waitMs;
  }
}

export async function request(
  name: string,
  url: string,
  init: RequestInit,
  get: typeof fetch = fetch,
): Promise<Response> {
  const response = await get(url, init);
  if (response.ok) {
    return response;
  }
  if (response.status === 404) {
    throw new Refused("model-not-found", `${name} is not on the server (404).`);
  }
  const passing = response.status >= 500 || response.status === 408 || response.status === 429;
  const text = `the server answered ${response.status} ${response.statusText}`.trim();
  if (!passing) {
    throw new Refused("network", `${name}: ${text}.`);
  }
  const seconds = Number(response.headers.get("Retry-After") ?? 0);
  const waitMs = Number.isFinite(seconds) ? seconds * 1000 : 0;
  throw new Later(text, Math.min(Math.max(0, waitMs), MAX_RETRY_AFTER_MS));
}

/** Aborts an attempt that has gone quiet, or that the caller stopped. */
export class Watchdog {
  readonly #controller = new AbortController();
  readonly #stallMs: number;
  #caller: AbortSignal | undefined;
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

  /** Another caller may stop it from now on, and the one before no more. */
  follow(caller: AbortSignal | undefined): void {
    this.#caller?.removeEventListener("abort", this.#onCallerAbort);
    this.#caller = caller;
    caller?.addEventListener("abort", this.#onCallerAbort);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#caller?.removeEventListener("abort", this.#onCallerAbort);
  }

  readonly #onCallerAbort = (): void => {
    this.#controller.abort(this.#caller?.reason);
  };
}

/**
 * The network was in the way, not what was asked for: `facts.attempts` tells it from a refusal, also
 * behind `postMessage`.
 */
export function failed(name: string, attempts: number, error: unknown): TransomError {
  return new TransomError(
    "network",
    `${name} could not be downloaded (${attempts} attempts): ${describe(error)}.`,
    { cause: error, facts: { attempts } },
  );
}

export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) {
    throw new TransomError("aborted", "Stopped.");
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
