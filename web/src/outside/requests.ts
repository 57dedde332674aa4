/** The page's requests on its port: each a fetch to another host, passed on piece by piece. */
import { type FromOutside, MAX_REQUESTS, type ToOutside } from "../outside-protocol.ts";
import { PulledFetches } from "../pulled-fetches.ts";
import { refusalOf } from "./gate.ts";

/** The part of a `MessagePort` that is used. */
export interface OutsidePort {
  postMessage(message: FromOutside): void;
  addEventListener(type: "message", listener: (event: { data: ToOutside }) => void): void;
  start(): void;
}

type Head = Omit<FromOutside & { kind: "head" }, "kind" | "id">;

/**
 * Make the requests that come on a port, and say that they may come.
 *
 * @param home our own origin, which is not asked.
 */
export function serveOutside(
  port: OutsidePort,
  home: string,
  request: (address: string, init: RequestInit) => Promise<Response> = fetch,
): void {
  const fetches = new PulledFetches<Head>((message) => {
    port.postMessage(message);
  }, MAX_REQUESTS);

  const begin = (message: ToOutside & { kind: "request" }) => {
    const { id, url, method, headers, body, redirect } = message;
    const ask = (signal: AbortSignal) =>
      request(url, {
        method,
        headers: headers.map(([name, value]): [string, string] => [name, value]),
        body,
        redirect,
        signal,
        mode: "cors",
        // Whom the person is signed in with elsewhere is none of a model's business.
        credentials: "omit",
        referrerPolicy: "no-referrer",
        // Nothing of what was read stays behind.
        cache: "no-store",
      });
    return fetches.begin(id, refusalOf(message, home), ask, headOf);
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
  port.start();
  port.postMessage({ kind: "ready" });
}

function headOf(response: Response): Head {
  const { url, status, statusText, headers, type } = response;
  return { url, status, statusText, headers: [...headers], isRedirect: type === "opaqueredirect" };
}
