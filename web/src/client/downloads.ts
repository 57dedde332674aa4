/**
 * Models that are to come into this browser's storage, one after another.
 *
 * The list outlives the page: what ran goes on from the pieces that are there, what was paused stays
 * so. What a download is, and where the list is kept, are the caller's. No DOM.
 */
import { TransomError, describe } from "../errors.ts";
import type { LoadProgress, LoadRequest } from "../protocol.ts";

/** One download has several connections already: two only make each other wait. */
const AT_ONCE = 1;
/** A list in storage is from outside; nobody queues as many by hand. */
const MAX_KEPT = 1000;
const MAX_NAME_LENGTH = 1024;

export type DownloadState = "waiting" | "running" | "paused" | "failed" | "done";

export interface Download {
  /** As the API calls the model. */
  name: string;
  request: LoadRequest;
  state: DownloadState;
  /** The last that was told, also of one that is paused; null: nothing yet. */
  progress: LoadProgress | null;
  /** One sentence; null unless "failed". */
  error: string | null;
}

/** What is kept of a download beyond the page. */
export type KeptDownload = Pick<Download, "name" | "request"> & { isPaused: boolean };

export interface DownloadsOptions {
  /** @throws TransomError `aborted` soon after the signal; what has come stays. */
  bring(
    download: Pick<Download, "name" | "request">,
    onProgress: (progress: LoadProgress) => void,
    signal: AbortSignal,
  ): Promise<unknown>;
  /** Forget what has come of one that nobody wants any more. */
  discard(download: Pick<Download, "name" | "request">): Promise<void>;
  /** The list as it should be after a reload. */
  keep(downloads: readonly KeptDownload[]): void;
  /** The list is another one now. */
  onChange(downloads: readonly Download[]): void;
  /** It is in storage. */
  onDone(download: Download): void;
  atOnce?: number;
}

export class Downloads {
  readonly #options: DownloadsOptions;
  readonly #atOnce: number;
  #list: readonly Download[] = [];
  /** Of those that run, by name. */
  readonly #running = new Map<string, AbortController>();
  /** Those that failed for want of a network, by name. */
  readonly #cutOff = new Set<string>();
  /** One that was told to stop and is not yet over, by name. */
  readonly #ends = new Map<string, Promise<void>>();

  constructor(options: DownloadsOptions) {
    this.#options = options;
    this.#atOnce = options.atOnce ?? AT_ONCE;
  }

  get list(): readonly Download[] {
    return this.#list;
  }

  /** What an earlier page left; whatever cannot be read is no download. */
  restore(kept: unknown): void {
    for (const { name, request, isPaused } of readKept(kept)) {
      if (this.#find(name) === null) {
        const state = isPaused ? "paused" : "waiting";
        this.#list = [...this.#list, { name, request, state, progress: null, error: null }];
      }
    }
    this.#changed();
  }

  /** At the end of the line; one that is in it already goes on. */
  add(name: string, request: LoadRequest): void {
    const before = this.#find(name);
    if (before !== null && before.state !== "done") {
      this.resume(name);
      return;
    }
    this.#list = [
      ...this.#list.filter((each) => each.name !== name),
      { name, request, state: "waiting", progress: null, error: null },
    ];
    this.#changed();
  }

  /** What has come stays, and others may come meanwhile. */
  pause(name: string): void {
    const state = this.#find(name)?.state;
    if (state === "running" || state === "waiting") {
      this.#set(name, { state: "paused" });
      this.#running.get(name)?.abort();
      this.#changed();
    }
  }

  /** Go on, or try again; it takes its turn. */
  resume(name: string): void {
    const state = this.#find(name)?.state;
    if (state === "paused" || state === "failed") {
      this.#cutOff.delete(name);
      this.#set(name, { state: "waiting", error: null });
      this.#changed();
    }
  }

  /** There is a network again: what failed for want of one takes its turn. */
  reconnect(): void {
    const names = this.#list.filter(({ name }) => this.#cutOff.has(name)).map(({ name }) => name);
    for (const name of names) {
      this.resume(name);
    }
  }

  /** Nobody wants it any more: what has come of it goes, too. */
  async cancel(name: string): Promise<void> {
    const download = this.#find(name);
    if (download === null) {
      return;
    }
    this.#list = this.#list.filter((each) => each !== download);
    this.#cutOff.delete(name);
    this.#running.get(name)?.abort();
    this.#changed();
    if (download.state !== "done") {
      await this.#ends.get(name);
      await this.#options.discard(download);
    }
  }

  /** Those that are over leave the list. */
  clear(): void {
    this.#list = this.#list.filter(({ state }) => state !== "done");
    this.#changed();
  }

  #find(name: string): Download | null {
    return this.#list.find((each) => each.name === name) ?? null;
  }

  #set(name: string, change: Partial<Download>): void {
    this.#list = this.#list.map((each) => (each.name === name ? { ...each, ...change } : each));
  }

  #changed(): void {
    this.#start();
    const left = this.#list.filter(({ state }) => state !== "done");
    this.#options.keep(
      left.map(({ name, request, state }) => ({ name, request, isPaused: state === "paused" })),
    );
    this.#options.onChange(this.#list);
  }

  /** As many as may run at once, in their order. */
  #start(): void {
    for (const { name, state } of this.#list) {
      // One that was paused a moment ago has to end before it goes on.
      if (state === "waiting" && this.#running.size < this.#atOnce && !this.#ends.has(name)) {
        this.#set(name, { state: "running" });
        const end = this.#run(name).finally(() => {
          this.#ends.delete(name);
          this.#running.delete(name);
          this.#changed();
        });
        this.#ends.set(name, end);
      }
    }
  }

  async #run(name: string): Promise<void> {
    const download = this.#find(name);
    if (download === null) {
      return;
    }
    const controller = new AbortController();
    this.#running.set(name, controller);
    const onProgress = (progress: LoadProgress) => {
      if (!controller.signal.aborted) {
        this.#set(name, { progress });
        this.#options.onChange(this.#list);
      }
    };
    try {
      await this.#options.bring(download, onProgress, controller.signal);
    } catch (error) {
      if (!controller.signal.aborted) {
        this.#set(name, { state: "failed", error: describe(error) });
        if (isOutage(error)) {
          this.#cutOff.add(name);
        }
      }
      return;
    }
    const now = this.#find(name);
    if (now !== null) {
      const done: Download = { ...now, state: "done", error: null };
      this.#set(name, done);
      this.#options.onDone(done);
    }
  }
}

/** @param kept JSON that some version of this page has written. */
function readKept(kept: unknown): KeptDownload[] {
  return (Array.isArray(kept) ? kept.slice(0, MAX_KEPT) : []).flatMap((row: unknown) => {
    const { name, request, isPaused } = (row ?? {}) as Partial<KeptDownload>;
    const isRead =
      typeof name === "string" &&
      name.length <= MAX_NAME_LENGTH &&
      typeof request === "object" &&
      typeof request.source === "object" &&
      typeof request.overrides === "object";
    return isRead ? [{ name, request, isPaused: isPaused === true }] : [];
  });
}

/** Whether the network was in the way; a host that refuses counts no attempts (`store/network.ts`). */
function isOutage(error: unknown): boolean {
  return (
    error instanceof TransomError &&
    error.code === "network" &&
    error.facts?.["attempts"] !== undefined
  );
}

/** Whether somebody wanted it to end. */
export function isAborted(error: unknown): boolean {
  return (
    (error instanceof TransomError && error.code === "aborted") ||
    (error instanceof DOMException && error.name === "AbortError")
  );
}
