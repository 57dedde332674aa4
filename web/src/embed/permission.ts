/** Whether a site may use models: what the visitor said before, and asking now. */
import type { AskVisitor, FromVisitor } from "../embed-protocol.ts";

/** Before a site's origin; the value is when the visitor agreed, in milliseconds since 1970. */
const KEY = "transom-embed ";

/** Browsers can be told to let no frame keep anything; nor can one then answer requests. */
export function mayKeep(): boolean {
  try {
    localStorage.getItem(KEY);
    return true;
  } catch {
    return false;
  }
}

/** Browsers keep this apart for each site that a frame of ours is in. */
export function isRemembered(origin: string): boolean {
  return localStorage.getItem(KEY + origin) !== null;
}

export function remember(origin: string): void {
  localStorage.setItem(KEY + origin, String(Date.now()));
}

export function forget(origin: string): void {
  localStorage.removeItem(KEY + origin);
}

/**
 * Open the window that asks. Call it in a click, else browsers open none.
 *
 * @returns null where the visitor said no, closed the window, or none could be opened.
 */
export async function askVisitor(
  origin: string,
): Promise<(FromVisitor & { kind: "agreed" }) | null> {
  const asking = window.open("consent.html", "_blank", "popup,width=480,height=640");
  if (asking === null) {
    return null;
  }
  return new Promise((resolve) => {
    const done = (answer: (FromVisitor & { kind: "agreed" }) | null) => {
      clearInterval(watch);
      window.removeEventListener("message", hear);
      resolve(answer);
    };
    const hear = (event: MessageEvent<FromVisitor>) => {
      if (event.source !== asking || event.origin !== location.origin) {
        return;
      }
      if (event.data.kind === "ready") {
        asking.postMessage({ kind: "ask", origin } satisfies AskVisitor, location.origin);
      } else {
        done(event.data.kind === "agreed" ? event.data : null);
      }
    };
    // No event tells that a window has been closed.
    const watch = setInterval(() => {
      if (asking.closed) {
        clearInterval(watch);
        // What it said before it closed may be on its way.
        setTimeout(() => {
          done(null);
        }, 500);
      }
    }, 500);
    window.addEventListener("message", hear);
  });
}
