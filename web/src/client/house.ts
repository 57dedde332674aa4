/**
 * The page's part in the house: it has the service worker registered and in charge, leads or follows, and
 * as the leader brings service worker, API worker and engine together (`api-protocol.ts`).
 *
 * After `ready`, `fetch("v1/…")` is answered. Where there can be no service worker (plain http on a
 * network, some private windows), such requests reach the server by themselves, if there is one.
 */
import { houseNames } from "../api-protocol.ts";
import type { HouseNews, Place, ToPage, ToServiceWorker } from "../api-protocol.ts";
import type { WireError } from "../errors.ts";
import type { ApiEngine } from "./api-engine.ts";
import { serveEngineCalls } from "./api-engine.ts";
import { ApiWorkerHost, type ApiWorkerPort } from "./api-worker-host.ts";
import { takeControl } from "./control.ts";
import { HouseNewsDesk } from "./house-news.ts";
import { seekLeadership } from "./leadership.ts";
import {
  type Surroundings,
  type Wanted,
  findPlace,
  isServerThere,
  isWantedKey,
  keepWanted,
  readWanted,
} from "./place.ts";

/** The first visit takes in the page's files before its service worker is there. */
const CONTROL_MILLISECONDS = 120_000;

export interface HouseOptions {
  /** Called once, when this page begins to lead; other pages need no engine. */
  engine: () => ApiEngine;
  startApiWorker: () => ApiWorkerPort;
  /** Absolute address of the folder with Pyodide, with a slash at its end. */
  bundleUrl: string;
  /** A page of `transom export`: files and no server (`page/address.ts`, `readHost`). */
  isStatic: boolean;
}

export interface House {
  /** Resolves when requests of this page are answered; never rejects. */
  readonly ready: Promise<void>;
  /** Once `ready`: whether a service worker answers; else requests go to the server by themselves. */
  readonly hasServiceWorker: boolean;
  readonly isLeading: boolean;
  /** Null until it is known. */
  readonly place: Place | null;
  /** Resolves when the place is known, which is long before a first visit is `ready`. */
  readonly placed: Promise<Place>;
  /** Seconds that the API worker of this page took to start; null: it has none, or not yet. */
  readonly apiStartSeconds: number | null;
  /** What the visitor wants, kept for later visits and heard by all pages. */
  want(wanted: Wanted): void;
  /** Hear of each change of the place. @returns a function that ends it. */
  onPlace(listener: (place: Place) => void): () => void;
  /** As the leader: tell all pages, this one too. */
  tell(news: HouseNews): void;
  /** Hear the leader's news, also one's own. @returns a function that ends it. */
  onNews(listener: (news: HouseNews) => void): () => void;
  /** Give up the lead and end the API worker; for tests. */
  close(): void;
}

/** @throws TransomError `invalid-request` where the page's address says something strange. */
export function startHouse(options: HouseOptions): House {
  return new PageHouse(options);
}

class PageHouse implements House {
  readonly ready: Promise<void>;
  hasServiceWorker = false;
  isLeading = false;
  place: Place | null = null;
  apiStartSeconds: number | null = null;
  /** `randomUUID` is for secure contexts only. */
  readonly #id = crypto.getRandomValues(new Uint32Array(4)).join("-");
  readonly #surroundings: Surroundings;
  readonly placed: Promise<Place>;
  readonly #placeListeners = new Set<(place: Place) => void>();
  readonly #apiWorker: ApiWorkerHost;
  readonly #news: HouseNewsDesk;
  /** Null where the page came over plain http. */
  readonly #container: ServiceWorkerContainer | null;
  #engine: ApiEngine | null = null;
  #resign: () => void = () => undefined;

  constructor({ engine, startApiWorker, bundleUrl, isStatic }: HouseOptions) {
    const scope = new URL("./", document.baseURI).href;
    this.#surroundings = {
      address: new URL(location.href),
      scope,
      isStatic,
      gpu: navigator.gpu,
      storage: keptStorage(),
      fetch: (...request: Parameters<typeof fetch>) => fetch(...request),
    };
    readWanted(this.#surroundings);
    this.#news = new HouseNewsDesk(new BroadcastChannel(houseNames(scope).channel));
    this.#apiWorker = new ApiWorkerHost({
      start: startApiWorker,
      bundleUrl,
      serveEngine: (port) => serveEngineCalls(port, (this.#engine ??= engine())),
      onChange: () => {
        this.#announce();
      },
      onStarted: (seconds) => {
        this.apiStartSeconds = seconds;
      },
      // Said before the next worker is: what the one before was asked is refused, not asked again.
      onHang: (error) => {
        this.#tellUnable(error);
      },
    });
    this.#container = (navigator as Partial<Navigator>).serviceWorker ?? null;
    this.placed = findPlace(this.#surroundings).then((place) => (this.place = place));
    this.ready = this.#open();
  }

  want(wanted: Wanted): void {
    keepWanted(wanted, this.#surroundings.storage);
    this.#move({ wanted });
  }

  onPlace(listener: (place: Place) => void): () => void {
    this.#placeListeners.add(listener);
    return () => {
      this.#placeListeners.delete(listener);
    };
  }

  tell(news: HouseNews): void {
    this.#news.tell(news);
  }

  onNews(listener: (news: HouseNews) => void): () => void {
    return this.#news.onNews(listener);
  }

  close(): void {
    this.isLeading = false;
    this.#resign();
    this.#apiWorker.end();
    this.#news.close();
  }

  async #open(): Promise<void> {
    const container = this.#container;
    const { scope } = this.#surroundings;
    if (container === null) {
      return;
    }
    container.addEventListener("message", ({ data, source }: MessageEvent<ToPage | null>) => {
      if (data?.kind === "who-leads") {
        this.#announce(source as ServiceWorker);
      }
    });
    container.startMessages();
    // A new build's service worker has heard of no leader.
    container.addEventListener("controllerchange", () => {
      this.#announce();
    });
    this.#watchPlace();
    this.#resign = seekLeadership({
      locks: navigator.locks,
      scope,
      id: this.#id,
      onStandby: () => {
        this.#apiWorker.prepare();
      },
      onLead: () => {
        this.isLeading = true;
        this.#apiWorker.engage();
        this.#announce();
        this.tell({ kind: "leads", leader: this.#id });
      },
    });
    const registration = await takeControl(container, scope, CONTROL_MILLISECONDS);
    this.hasServiceWorker = registration !== null;
    if (registration === null) {
      // Nobody will ask.
      this.isLeading = false;
      this.#resign();
      this.#apiWorker.end();
    }
  }

  /** Tell a service worker that this page leads: the one that answers it, or the one that asks. */
  #announce(to: ServiceWorker | null = this.#container?.controller ?? null): void {
    void this.placed.then(() => {
      const { place } = this;
      if (!this.isLeading || to === null || place === null) {
        return;
      }
      const leader = this.#id;
      const error = this.#apiWorker.failure;
      if (error !== null) {
        this.#tellUnable(error, to);
        return;
      }
      const { port1, port2: port } = new MessageChannel();
      this.#apiWorker.serve(port1);
      const apiWorker = this.#apiWorker.count;
      const message: ToServiceWorker = { kind: "leads", leader, apiWorker, port, place };
      to.postMessage(message, [port]);
    });
  }

  #tellUnable(
    error: WireError,
    to: ServiceWorker | null = this.#container?.controller ?? null,
  ): void {
    const { place } = this;
    if (this.isLeading && place !== null) {
      const message: ToServiceWorker = { kind: "unable", leader: this.#id, error, place };
      to?.postMessage(message);
    }
  }

  /** Servers come and go with networks, and the visitor may choose in another tab. */
  #watchPlace(): void {
    const probe = () => {
      void isServerThere(this.#surroundings).then((hasServer) => {
        this.#move({ hasServer });
      });
    };
    addEventListener("online", probe);
    addEventListener("offline", probe);
    document.addEventListener("visibilitychange", () => {
      if (document.visibilityState === "visible") {
        probe();
      }
    });
    addEventListener("storage", ({ key }) => {
      if (isWantedKey(key)) {
        this.#move({ wanted: readWanted(this.#surroundings) });
      }
    });
  }

  #move(change: Partial<Place>): void {
    void this.placed.then(() => {
      if (this.place === null) {
        return;
      }
      this.place = { ...this.place, ...change };
      for (const listener of this.#placeListeners) {
        listener(this.place);
      }
      if (this.isLeading) {
        const message: ToServiceWorker = { kind: "place", leader: this.#id, place: this.place };
        this.#container?.controller?.postMessage(message);
      }
    });
  }
}

/** A browser that keeps nothing throws at the mere mention. */
function keptStorage(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return localStorage;
  } catch {
    return { getItem: () => null, setItem: () => undefined };
  }
}
