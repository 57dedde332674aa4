/**
 * The page without a network: all files of this build, kept from the first visit on.
 *
 * Every kept file has a digest in its key, so builds lie side by side in one cache and never mix:
 *
 *     install    what this build lacks comes in, each file checked by its digest; one that fails ends
 *                the install, and the build before stays as it is
 *     waiting    open pages go on with their build; new ones get it, too
 *     activate   when the last page has gone, or all pages are brought over (`update`)
 *     prune      files of other builds leave when no open page is of such a build
 *
 * A page holds the lock `pageLock(its script)` for its life; its script's name has a digest.
 */
import { PrecacheController } from "workbox-precaching/PrecacheController.js";

import type { BuildFile, BuildFiles } from "../../precache-manifest.ts";
import { PAGE_LOCK } from "../page-lock.ts";
import { withPolicies } from "./policies.ts";

const DOCUMENT = "index.html";
/** Everything in it has a digest in its name, or in its folder's. */
const HASHED_FOLDER = "assets/";
/** A key says all; hosts that vary their answers by what browsers accept vary nothing here. */
const BY_KEY = { ignoreVary: true };

/** What this needs of the service worker around it, whose tests bring another one. */
export interface Surroundings {
  /** Address of the page's folder. */
  scope: string;
  caches: CacheStorage;
  locks: Pick<LockManager, "query">;
  registration: Pick<ServiceWorkerRegistration, "installing" | "waiting">;
  fetch: typeof fetch;
}

export class Precache {
  readonly #scope: string;
  readonly #surroundings: Surroundings;
  readonly #controller: PrecacheController;
  readonly #first: ReadonlySet<string>;
  readonly #later: ReadonlyMap<string, string>;
  readonly #laterName: string;
  /** There while an install has failed: what browsers hold of its files may be wrong. */
  readonly #failedName: string;
  #isPruned = false;

  constructor(files: BuildFiles, surroundings: Surroundings) {
    const { scope } = surroundings;
    this.#scope = scope;
    this.#surroundings = surroundings;
    this.#first = new Set(files.first.map(([path]) => path));
    this.#later = new Map(files.later);
    this.#laterName = `transom-later ${scope}`;
    this.#failedName = `transom-failed ${scope}`;
    this.#controller = new PrecacheController({
      cacheName: `transom-precache ${scope}`,
      plugins: [{ requestWillFetch: ({ request }) => this.#ask(request) }],
    });
    this.#controller.addToCacheList(files.first.map(entryOf));
  }

  /** For the `install` event. */
  async install(event: ExtendableEvent): Promise<void> {
    const { caches } = this.#surroundings;
    try {
      await this.#controller.install(event);
      await caches.delete(this.#failedName);
    } catch (error) {
      await caches.open(this.#failedName);
      throw error;
    }
  }

  /**
   * Null: not of the page, and nobody's business here.
   *
   * @param leaving aborted when nothing may be fetched any more: `leaving.ts`.
   */
  answer(request: Request, event: ExtendableEvent, leaving: AbortSignal): Promise<Response> | null {
    const path = this.#pathOf(request);
    if (path === null) {
      return null;
    }
    if (request.mode === "navigate") {
      const document = path === "" ? DOCUMENT : path;
      return this.#first.has(document) ? this.#document(request, document, event) : null;
    }
    return this.#first.has(path) || path.startsWith(HASHED_FOLDER)
      ? this.#file(request, path, leaving)
      : null;
  }

  /**
   * Forget other builds, unless a page is of one or a newer one is on its way; asked again at each
   * start and each new page.
   */
  async prune(): Promise<void> {
    if (this.#isPruned) {
      return;
    }
    const { caches, locks, registration } = this.#surroundings;
    const { held = [] } = await locks.query();
    const ours = PAGE_LOCK + this.#scope;
    const pages = held.map(({ name = "" }) => name).filter((name) => name.startsWith(ours));
    if (pages.some((name) => !this.#first.has(name.slice(ours.length)))) {
      return;
    }
    const wanted = new Set([
      ...this.#controller.getURLsToCacheKeys().values(),
      ...[...this.#later.keys()].map((path) => this.#scope + path),
    ]);
    for (const name of [this.#controller.strategy.cacheName, this.#laterName]) {
      const cache = await caches.open(name);
      const unwanted = (await cache.keys()).filter(({ url }) => !wanted.has(url));
      // Asked after the list is made: what a newer build brings from now on is not in it.
      if (registration.installing !== null || registration.waiting !== null) {
        return;
      }
      await Promise.all(unwanted.map((key) => cache.delete(key)));
    }
    this.#isPruned = true;
  }

  /** What of the page's folder is asked for; null: something else. */
  #pathOf({ method, url }: Request): string | null {
    const { origin, pathname } = new URL(url);
    const address = origin + pathname;
    return method === "GET" && address.startsWith(this.#scope)
      ? address.slice(this.#scope.length)
      : null;
  }

  /** A page, whatever its query says. */
  async #document(request: Request, path: string, event: ExtendableEvent): Promise<Response> {
    event.waitUntil(this.prune());
    const cache = await this.#surroundings.caches.open(this.#controller.strategy.cacheName);
    const kept = await cache.match(this.#keyOf(path), BY_KEY);
    if (kept === undefined) {
      return this.#surroundings.fetch(request);
    }
    return withPolicies(kept, path);
  }

  async #file(request: Request, path: string, signal: AbortSignal): Promise<Response> {
    const { caches, fetch } = this.#surroundings;
    const address = this.#scope + path;
    const cache = await caches.open(this.#controller.strategy.cacheName);
    const later = await caches.open(this.#laterName);
    const kept =
      (await cache.match(this.#keyOf(path), BY_KEY)) ?? (await later.match(address, BY_KEY));
    if (kept !== undefined) {
      return withPolicies(kept);
    }
    const integrity = this.#later.get(path);
    if (integrity === undefined) {
      // Of an older build, or lost: browsers may clear what they keep.
      return fetch(request, { signal });
    }
    const response = await fetch(address, { integrity, credentials: "same-origin", signal });
    if (response.ok) {
      await later.put(address, response.clone()).catch(() => undefined);
    }
    return withPolicies(response);
  }

  #keyOf(path: string): string {
    const address = this.#scope + path;
    return this.#controller.getCacheKeyForURL(address) ?? address;
  }

  /** The page has asked for most of these a moment ago: their names say that nothing has changed. */
  async #ask(request: Request): Promise<Request> {
    const hasFailed = await this.#surroundings.caches.has(this.#failedName);
    return request.url.startsWith(this.#scope + HASHED_FOLDER)
      ? new Request(request, { cache: hasFailed ? "reload" : "force-cache" })
      : request;
  }
}

function entryOf([path, integrity]: BuildFile) {
  return { url: path, integrity, revision: path.startsWith(HASHED_FOLDER) ? null : integrity };
}
