/**
 * Which page leads, as far as the service worker knows. A browser stops service workers at any time, and
 * a new one knows nothing: it asks all pages. Knows no HTTP.
 */
import { houseNames } from "../api-protocol.ts";
import type { Place, ToPage, ToServiceWorker } from "../api-protocol.ts";
import type { WireError } from "../errors.ts";
import { type LifeLocks, whenGone } from "../life.ts";

/** A page that has just been opened asks for the lock only when its scripts have come. */
const GRACE_MILLISECONDS = 3000;
/** How often it looks whether anybody holds or awaits the lock, while nobody has answered. */
const LOOK_MILLISECONDS = 250;

export interface Leader {
  readonly id: string;
  /** Which of its API workers; 0 where none starts. */
  readonly apiWorker: number;
  /** Port A; null where its API worker does not start. */
  readonly port: MessagePort | null;
  /** Why it has no port. */
  readonly error: WireError | null;
  place: Place;
  /** Aborted when the page or its API worker has gone, or another port has taken this one's place. */
  readonly gone: AbortSignal;
}

/** The part of `LockManager` that is used. */
export interface Locks extends LifeLocks {
  query(): Promise<{ held?: { name?: string }[]; pending?: { name?: string }[] }>;
}

export class Leaders {
  readonly #locks: Locks;
  readonly #leaderLock: string;
  readonly #askPages: (message: ToPage) => Promise<void>;
  readonly #graceMilliseconds: number;
  readonly #watched = new Set<string>();
  readonly #waiting = new Set<() => void>();
  #current: Leader | null = null;
  #end = new AbortController();
  /** One for all who wait; it ends when none does any more. */
  #search: Promise<Leader | null> | null = null;
  readonly #searchers = new Set<AbortSignal>();

  /** @param askPages sends a message to all pages of the origin, also to those not controlled. */
  constructor(
    scope: string,
    locks: Locks,
    askPages: (message: ToPage) => Promise<void>,
    graceMilliseconds = GRACE_MILLISECONDS,
  ) {
    this.#leaderLock = houseNames(scope).leaderLock;
    this.#locks = locks;
    this.#askPages = askPages;
    this.#graceMilliseconds = graceMilliseconds;
  }

  receive(message: Extract<ToServiceWorker, { leader: string }>): void {
    switch (message.kind) {
      case "leads":
        this.#lead(message.leader, message.place, message.apiWorker, message.port, null);
        return;
      case "unable":
        this.#lead(message.leader, message.place, 0, null, message.error);
        return;
      case "place":
        if (this.#current?.id === message.leader) {
          this.#current.place = message.place;
        }
    }
  }

  /**
   * The page that leads, as soon as one does; null where none is about to.
   *
   * @param over aborted when nobody waits for it any more.
   */
  find(over: AbortSignal): Promise<Leader | null> {
    if (this.#current !== null) {
      return Promise.resolve(this.#current);
    }
    this.#searchers.add(over);
    this.#search ??= this.#seek().finally(() => {
      this.#search = null;
      this.#searchers.clear();
    });
    return this.#search;
  }

  async #seek(): Promise<Leader | null> {
    let patience = this.#graceMilliseconds;
    for (let looks = 0; this.#current === null && patience > 0; looks++) {
      if ([...this.#searchers].every(({ aborted }) => aborted)) {
        break;
      }
      if (looks % 4 === 0) {
        await this.#askPages({ kind: "who-leads" });
      }
      await this.#arrival(LOOK_MILLISECONDS);
      // A page that holds or awaits the lock will lead: the API worker may take its time to start.
      patience = (await this.#isAwaited()) ? this.#graceMilliseconds : patience - LOOK_MILLISECONDS;
    }
    return this.#current;
  }

  #lead(
    id: string,
    place: Place,
    apiWorker: number,
    port: MessagePort | null,
    error: WireError | null,
  ): void {
    const before = this.#current;
    if (before?.id === id && before.apiWorker === apiWorker) {
      // It says so to everybody who asks, and when it begins.
      before.place = place;
      port?.close();
      return;
    }
    this.#end.abort();
    const end = new AbortController();
    const leader: Leader = { id, apiWorker, port, error, place, gone: end.signal };
    end.signal.addEventListener("abort", () => {
      port?.close();
      if (this.#current === leader) {
        this.#current = null;
      }
    });
    // Few browsers tell that the other end of a port has gone; where none does, the lock does.
    port?.addEventListener("close", () => {
      end.abort();
    });
    port?.start();
    this.#end = end;
    this.#current = leader;
    this.#watch(id);
    for (const wake of this.#waiting) {
      wake();
    }
  }

  #watch(id: string): void {
    if (this.#watched.has(id)) {
      return;
    }
    this.#watched.add(id);
    const leave = () => {
      this.#watched.delete(id);
      if (this.#current?.id === id) {
        this.#end.abort();
      }
    };
    whenGone(id, this.#locks).then(leave, leave);
  }

  async #isAwaited(): Promise<boolean> {
    const { held = [], pending = [] } = await this.#locks.query();
    return [...held, ...pending].some(({ name }) => name === this.#leaderLock);
  }

  /** Resolves when a page leads, or after a while. */
  #arrival(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const wake = () => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        resolve();
      };
      const timer = setTimeout(wake, milliseconds);
      this.#waiting.add(wake);
      if (this.#current !== null) {
        wake();
      }
    });
  }
}
