/** Has the service worker registered, and this page answered by it. */
import type { ToServiceWorker } from "../api-protocol.ts";

/**
 * Register `sw.js` of the page's folder and wait until it answers this page: also at a first visit, and
 * after a reload with Shift, which passes it by.
 *
 * @param milliseconds how long a first visit may take: all of the page's files come in before.
 * @returns null where it cannot be; the page then asks the server by itself.
 */
export async function takeControl(
  container: ServiceWorkerContainer,
  scope: string,
  milliseconds: number,
): Promise<ServiceWorkerRegistration | null> {
  let registration: ServiceWorkerRegistration;
  try {
    registration = await container.register(new URL("sw.js", scope), {
      scope,
      // Vite's development server has modules only (`vite.config.ts`).
      type: import.meta.env.DEV ? "module" : "classic",
      updateViaCache: "none",
    });
  } catch {
    return null; // no such file, a browser that keeps nothing, a policy
  }
  const signal = AbortSignal.timeout(milliseconds);
  const active = await activeWorker(registration, signal);
  if (active === null) {
    return null;
  }
  if (container.controller === null) {
    const isControlled = happens(container, "controllerchange", signal);
    active.postMessage({ kind: "claim" } satisfies ToServiceWorker);
    // It may have come between the two lines above.
    if ((container.controller as ServiceWorker | null) === null && !(await isControlled)) {
      return null;
    }
  }
  return registration;
}

/** Null where the first one does not get through its installation. */
async function activeWorker(
  registration: ServiceWorkerRegistration,
  signal: AbortSignal,
): Promise<ServiceWorker | null> {
  for (;;) {
    const { active } = registration;
    if (active !== null) {
      return active;
    }
    const coming = registration.waiting ?? registration.installing;
    if (coming === null || coming.state === "redundant") {
      return null;
    }
    if (!(await happens(coming, "statechange", signal))) {
      return null;
    }
  }
}

/** False where it does not in time. */
function happens(target: EventTarget, type: string, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    target.addEventListener(
      type,
      () => {
        resolve(true);
      },
      { once: true, signal },
    );
    signal.addEventListener("abort", () => {
      resolve(false);
    });
    if (signal.aborted) {
      resolve(false);
    }
  });
}
