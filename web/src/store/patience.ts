/**
 * How long a download puts up with a network that fails.
 *
 * A host that has answered in this visit was there a moment ago: an outage of some minutes is waited out,
 * and one that the system knows of (`navigator.onLine`) for longer. A host that never answered may be a wrong
 * address, and whoever asked wants to hear so soon.
 */
import { stoppable } from "../stopping.ts";
import { Later, RETRY_PAUSES_MS, failed, sleep } from "./network.ts";

/** Three minutes in all: a router that starts anew, a tunnel, a laptop that changes networks. */
export const LONG_PAUSES_MS = [
  ...RETRY_PAUSES_MS,
  ...[16_000, 30_000, 30_000, 30_000, 30_000, 30_000],
] as const;
/** Pauses are up to a fifth shorter: what failed together shall not come back together. */
const JITTER = 0.2;
/** Whoever waits for longer than that should be told; what is queued begins anew when the network is back. */
export const MAX_OFFLINE_MS = 10 * 60_000;
/** Not every browser sends its workers the event; under DevTools' emulation Chromium does not. */
const LOOK_MS = 1000;

/** Origins that have answered, for as long as this worker lives. */
const ANSWERED = new Set<string>();

/** The way out of this machine, as the system sees it. */
export interface Line {
  isDown(): boolean;
  /** Hear when it comes up. @returns a function that ends it. */
  onUp(listener: () => void): () => void;
}

export interface PatienceOptions {
  pause?: (milliseconds: number) => Promise<void>;
  line?: Line;
  /** From 0 to 1. */
  random?: () => number;
  answered?: Set<string>;
}

/** Of one piece: counts the attempts that brought nothing, and waits between them. */
export class Patience {
  readonly #name: string;
  readonly #pause: (milliseconds: number) => Promise<void>;
  readonly #line: Line;
  readonly #random: () => number;
  readonly #answered: Set<string>;
  #attempts = 0;
  #offlineMs = 0;

  constructor(
    name: string,
    { pause = sleep, line = LINE, random = Math.random, answered = ANSWERED }: PatienceOptions,
  ) {
    this.#name = name;
    this.#pause = pause;
    this.#line = line;
    this.#random = random;
    this.#answered = answered;
  }

  /** Bytes have come: the next attempt is the first again. */
  anew(): void {
    this.#attempts = 0;
    this.#offlineMs = 0;
  }

  /**
   * After an attempt failed: wait until there may be another.
   *
   * @param hosts addresses whose outage is waited out, if they have answered before.
   * @throws TransomError `network` when there have been enough; `aborted`, at once.
   */
  async wait(
    error: unknown,
    hosts: readonly string[],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const isKnown = hosts.some((url) => this.#answered.has(new URL(url).origin));
    const isDown = isKnown && this.#line.isDown() && this.#offlineMs < MAX_OFFLINE_MS;
    const pauses = isKnown ? LONG_PAUSES_MS : RETRY_PAUSES_MS;
    // Browsers are wrong about the line at times, and a host on this machine needs none: an attempt now
    // and then costs nothing.
    const wait = isDown ? LONG_PAUSES_MS.at(-1) : pauses[this.#attempts];
    if (wait === undefined) {
      throw failed(this.#name, this.#attempts + 1, error);
    }
    if (isDown) {
      this.#offlineMs += wait;
    } else {
      this.#attempts++;
    }
    if (error instanceof Later) {
      await stoppable(this.#pause(Math.max(wait, error.waitMs)), signal);
      return;
    }
    const jitter = isKnown ? 1 - JITTER * this.#random() : 1;
    let isUp: () => void = () => undefined;
    const up = new Promise<void>((resolve) => (isUp = resolve));
    const leave = this.#line.onUp(isUp);
    try {
      await stoppable(Promise.race([this.#pause(wait * jitter), up]), signal);
    } finally {
      leave();
    }
  }
}

/** This host is there: it has sent something of a file. */
export function noteAnswer(url: string, { answered = ANSWERED }: PatienceOptions): void {
  answered.add(new URL(url).origin);
}

/** A window's or a worker's; elsewhere nobody says, and the line is taken to be up. */
const LINE: Line = {
  isDown: () => (globalThis as { navigator?: { onLine?: boolean } }).navigator?.onLine === false,
  onUp: (listener) => {
    const { addEventListener, removeEventListener } = globalThis as Partial<typeof globalThis>;
    addEventListener?.call(globalThis, "online", listener);
    let wasDown = LINE.isDown();
    const looking = setInterval(() => {
      const isDown = LINE.isDown();
      if (wasDown && !isDown) {
        listener();
      }
      wasDown = isDown;
    }, LOOK_MS);
    return () => {
      clearInterval(looking);
      removeEventListener?.call(globalThis, "online", listener);
    };
  },
};
