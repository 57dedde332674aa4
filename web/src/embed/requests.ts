/** The requests of one site on its port: each a fetch of our own origin, passed on piece by piece. */
import { WHERE_HEADER } from "../api-protocol.ts";
import type { ToFrame, ToSite } from "../embed-protocol.ts";
import { PulledFetches } from "../pulled-fetches.ts";
import { MAX_REQUESTS, refusalOf } from "./gate.ts";

/** Of an answer; others, as cookies would be, are nobody's business. */
const PASSED_ON = ["content-type", "transom-served-by", "retry-after"];

/** The part of a `MessagePort` that is used. */
export interface SitePort {
  postMessage(message: ToSite): void;
  addEventListener(type: "message", listener: (event: { data: ToFrame }) => void): void;
  addEventListener(type: "close", listener: () => void): void;
  start(): void;
  close(): void;
}

type Head = Omit<ToSite & { kind: "head" }, "kind" | "id">;

/**
 * Make the requests that come on a port.
 *
 * @param base the folder of our page.
 * @returns a function that ends all of them and closes the port; the site hears the reason.
 */
export function serveSite(
  port: SitePort,
  base: URL,
  request: (address: URL, init: RequestInit) => Promise<Response> = fetch,
): (reason?: string) => void {
  const fetches = new PulledFetches<Head>((message) => {
    port.postMessage(message);
  }, MAX_REQUESTS);

  const begin = (message: ToFrame & { kind: "request" }) => {
    const { id, method, path, body } = message;
    // A server of this origin is none of the site's business.
    const headers = { [WHERE_HEADER]: "browser", "Content-Type": "application/json" };
    const ask = (signal: AbortSignal) =>
      request(new URL(path.slice(1), base), { method, headers, body, signal, credentials: "omit" });
    return fetches.begin(id, refusalOf(message), ask, headOf);
  };
  const close = (reason?: string) => {
    if (reason !== undefined) {
      port.postMessage({ kind: "closed", reason });
    }
    fetches.cancelAll();
    port.close();
  };

  port.addEventListener("message", ({ data }) => {
    switch (data.kind) {
      case "request":
        void begin(data);
        return;
      case "pull":
        void fetches.pull(data.id);
        return;
      case "cancel":
        fetches.cancel(data.id);
        return;
    }
  });
  port.addEventListener("close", () => {
    close();
  });
  port.start();
  return close;
}

function headOf(response: Response): Head {
  const headers = PASSED_ON.flatMap((name) => {
    const value = response.headers.get(name);
    return value === null ? [] : [[name, value] as const];
  });
  return { status: response.status, headers };
}
