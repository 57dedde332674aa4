/**
 * The page's side of its way out (`outside-protocol.ts`): `fetch` for other hosts.
 *
 * The frame is made with the first request, so only after a person agreed to one.
 */
import { TransomError } from "../errors.ts";
import type { FromOutside, OpenMessage, ToOutside } from "../outside-protocol.ts";

/** Loading a small page of our own takes a second at most; a dead host takes forever. */
const OPEN_SECONDS = 20;

/** The part of a `MessagePort` that is used. */
export interface DoorPort {
  postMessage(message: ToOutside): void;
  addEventListener(type: "message", listener: (event: { data: FromOutside }) => void): void;
  start(): void;
}

interface Asked {
  head: (response: Response) => void;
  fail: (error: Error) => void;
  body: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>> | null;
  /** Nobody needs to hear that it is stopped any more. */
  settle: () => void;
}

/** `redirect: "error"` is not offered. */
export type OutsideFetch = (address: string | URL, init?: RequestInit) => Promise<Response>;

export class OutsideDoor {
  readonly #openPort: () => Promise<DoorPort>;
  readonly #asked = new Map<number, Asked>();
  #port: Promise<DoorPort> | null = null;
  #lastId = 0;

  /** @param openPort makes the frame; resolves once it listens. Not called before the first request. */
  constructor(openPort: () => Promise<DoorPort> = openFrame) {
    this.#openPort = openPort;
  }

  /**
   * As the platform's, with less: no cookies, no referrer, bodies of requests in one piece.
   *
   * @throws TypeError where no answer came, as `fetch` does; browsers do not tell pages why.
   */
  readonly fetch: OutsideFetch = async (address, init = {}) => {
    const { signal } = init;
    signal?.throwIfAborted();
    const headers = [...new Headers(init.headers)];
    const body =
      init.body === undefined || init.body === null
        ? null
        : new Uint8Array(await new Response(init.body).arrayBuffer());
    const port = await this.#opened();
    signal?.throwIfAborted();
    const id = ++this.#lastId;
    return new Promise<Response>((resolve, reject) => {
      const abort = () => {
        const waiting = this.#forget(id);
        port.postMessage({ kind: "cancel", id });
        const reason = abortReason(signal);
        reject(reason);
        waiting?.body?.error(reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const settle = () => signal?.removeEventListener("abort", abort);
      this.#asked.set(id, { head: resolve, fail: reject, body: null, settle });
      port.postMessage({
        kind: "request",
        id,
        url: String(address),
        method: init.method ?? "GET",
        headers,
        body,
        redirect: init.redirect === "manual" ? "manual" : "follow",
      });
    });
  };

  #opened(): Promise<DoorPort> {
    this.#port ??= this.#openPort().then(
      (port) => {
        port.addEventListener("message", ({ data }) => {
          this.#receive(data, port);
        });
        return port;
      },
      (error: unknown) => {
        this.#port = null;
        throw error;
      },
    );
    return this.#port;
  }

  #forget(id: number): Asked | undefined {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    asked?.settle();
    return asked;
  }

  #receive(message: FromOutside, port: DoorPort): void {
    if (message.kind === "ready") {
      return;
    }
    const { id } = message;
    const asked = this.#asked.get(id);
    if (asked === undefined) {
      return;
    }
    switch (message.kind) {
      case "head": {
        const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
          {
            start: (controller) => {
              asked.body = controller;
            },
            pull: () => {
              port.postMessage({ kind: "pull", id });
            },
            cancel: () => {
              this.#forget(id);
              port.postMessage({ kind: "cancel", id });
            },
          },
          { highWaterMark: 0 },
        );
        asked.head(responseOf(message, body));
        return;
      }
      case "chunk":
        asked.body?.enqueue(message.bytes);
        return;
      case "end":
        this.#forget(id);
        asked.body?.close();
        return;
      case "failed": {
        this.#forget(id);
        const error = new TypeError(message.reason);
        asked.fail(error);
        asked.body?.error(error);
        return;
      }
    }
  }
}

/** Statuses of which a `Response` with a body cannot be made. */
const BODILESS: ReadonlySet<number> = new Set([101, 103, 204, 205, 304]);

function responseOf(
  { status, statusText, headers, url, isRedirect }: FromOutside & { kind: "head" },
  body: ReadableStream<Uint8Array<ArrayBuffer>>,
): Response {
  const hasNone = isRedirect || BODILESS.has(status);
  if (hasNone) {
    void body.cancel();
  }
  const response = new Response(hasNone ? null : body, {
    // A redirect that was not followed has status 0, which only the platform may give.
    status: isRedirect ? 200 : status,
    statusText,
    headers: headers.map(([name, value]): [string, string] => [name, value]),
  });
  const told = isRedirect
    ? { url, status: 0, ok: false, type: "opaqueredirect" as const }
    : { url };
  for (const [name, value] of Object.entries(told)) {
    Object.defineProperty(response, name, { value });
  }
  return response;
}

function abortReason(signal: AbortSignal | null | undefined): Error {
  const reason: unknown = signal?.reason;
  return reason instanceof Error ? reason : new DOMException("Stopped.", "AbortError");
}

/** Puts `outside.html` into the page and gives it a port. @throws TransomError where it does not load. */
async function openFrame(): Promise<DoorPort> {
  const address = new URL("outside.html", document.baseURI);
  const frame = document.createElement("iframe");
  frame.src = address.href;
  frame.hidden = true;
  // It runs our scripts and nothing else: no windows, no forms, and it cannot lead the page away.
  frame.setAttribute("sandbox", "allow-scripts allow-same-origin");
  // Browsers ask before a page reaches into the person's own network; they may ask for this one.
  frame.allow = "local-network-access; local-network; loopback-network";
  frame.title = "Transom";
  const { port1: port, port2 } = new MessageChannel();
  const ready = new Promise<void>((resolve) => {
    port.addEventListener(
      "message",
      () => {
        resolve();
      },
      { once: true },
    );
  });
  port.start();
  frame.addEventListener(
    "load",
    () => {
      const message: OpenMessage = { kind: "transom-outside", version: 1 };
      frame.contentWindow?.postMessage(message, address.origin, [port2]);
    },
    { once: true },
  );
  document.body.append(frame);
  const late = new Promise<never>((_, reject) => {
    setTimeout(() => {
      reject(
        new TransomError(
          "network",
          "The frame for requests to other hosts did not load; reload the page and try again.",
        ),
      );
    }, OPEN_SECONDS * 1000);
  });
  try {
    await Promise.race([ready, late]);
  } catch (error) {
    frame.remove();
    throw error;
  }
  return port;
}
