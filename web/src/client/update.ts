/**
 * New builds of the page: hears of one, and brings all tabs over when the visitor says so.
 *
 * A new service worker installs beside the one that answers, and waits. Until the visitor decides,
 * nothing changes for open tabs, and new ones get the same build; when the last tab has been closed,
 * the new one begins by itself.
 */
import type { ToPage, ToServiceWorker } from "../api-protocol.ts";
import { PAGE_LOCK } from "../page-lock.ts";

/** Browsers look for themselves when a page is opened, and some pages stay open for days. */
const LOOK_INTERVAL_MS = 60 * 60 * 1000;
/** A busy machine takes its time to start a service worker; older builds' do not say that they leave. */
const LEAVE_MS = 5000;

export interface UpdateOptions {
  serviceWorkers: ServiceWorkerContainer;
  locks: LockManager;
  /** Address of this page's script: tells its build from others. */
  script: string;
  /** Called once, when a newer build is here as a whole. */
  onReady: () => void;
  /** Called when another build answers from now on: this page must go. */
  reload: () => void;
}

export interface Updates {
  /** All tabs of this page go over to the new build; without one, nothing happens. */
  apply(): Promise<void>;
}

/** Begins at once, whether a service worker is registered yet or not. */
export function watchUpdates(options: UpdateOptions): Updates {
  const { serviceWorkers, locks, script, onReady, reload } = options;
  // Files of this build stay while this page is open (`sw/precache.ts`).
  void locks.request(PAGE_LOCK + script, { mode: "shared" }, () => new Promise(() => undefined));

  let onLeft: () => void = () => undefined;
  let isTold = false;
  const tell = () => {
    if (!isTold) {
      isTold = true;
      onReady();
    }
  };
  // A first visit gets its first controller; no build is left for it.
  let isControlled = serviceWorkers.controller !== null;
  serviceWorkers.addEventListener("controllerchange", () => {
    if (isControlled) {
      reload();
    }
    isControlled = true;
  });
  serviceWorkers.addEventListener("message", ({ data }: MessageEvent<ToPage | null>) => {
    if (data?.kind === "update-ready") {
      tell();
    } else if (data?.kind === "left") {
      onLeft();
    }
  });
  const registered = serviceWorkers.ready;
  void registered.then((registration) => {
    // One that waits since an earlier visit has told nobody who is here now.
    if (registration.waiting !== null) {
      tell();
    }
    setInterval(() => {
      // Without a network there is nothing new.
      registration.update().catch(() => undefined);
    }, LOOK_INTERVAL_MS);
  });
  return {
    apply: async () => {
      const { active, waiting } = await registered;
      if (waiting === null) {
        return;
      }
      // Not the other way round: once the new one is called, Chromium stops the old one as soon as it
      // has nothing to do, and a message would start it again, for half a minute.
      const left = new Promise<void>((resolve) => {
        onLeft = resolve;
        setTimeout(resolve, LEAVE_MS);
      });
      active?.postMessage({ kind: "leave" } satisfies ToServiceWorker);
      await left;
      waiting.postMessage({ kind: "update" } satisfies ToServiceWorker);
    },
  };
}
