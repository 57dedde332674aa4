/**
 * For other sites: the visitor's own models, in a page of yours.
 *
 *   import { connect } from "https://models.example/connect.js";
 *   const transom = await connect({ base: "https://models.example/" });
 *   const client = new OpenAI({ baseURL: transom.baseUrl, apiKey: "-", fetch: transom.fetch,
 *                               dangerouslyAllowBrowser: true });
 *
 * Puts Transom's frame into the page, where the visitor is asked once. Needs nothing else of ours.
 */
import type { ConnectMessage, ToFrame, ToSite } from "../embed-protocol.ts";

export interface ConnectOptions {
  /** Where Transom's page is: its folder. The folder of this script if left out. */
  base?: string;
  /** Where the frame is put; the end of the page if left out. The visitor has to see it to agree. */
  parent?: Element;
  /** Ends waiting for the visitor. */
  signal?: AbortSignal;
}

export interface Connection {
  /** What OpenAI's clients call `baseURL`. */
  baseUrl: string;
  /** `fetch`, for addresses below the base. */
  fetch: (input: string | URL | Request, init?: RequestInit) => Promise<Response>;
  /** Let go of the frame; what runs ends with an error. */
  close: () => void;
}

interface Asked {
  head: (response: Response) => void;
  fail: (error: Error) => void;
  body: ReadableStreamDefaultController<Uint8Array> | null;
}

/** Resolves once the visitor has agreed. @throws Error saying why not. */
export async function connect({
  base = new URL(".", import.meta.url).href,
  parent = document.body,
  signal,
}: ConnectOptions = {}): Promise<Connection> {
  const address = new URL("embed.html", base);
  const frame = document.createElement("iframe");
  frame.src = address.href;
  frame.title = "Transom";
  frame.style.cssText = "border:0;width:100%;max-width:28rem;height:6rem;color-scheme:normal";
  const { port1: port, port2 } = new MessageChannel();
  const loaded = new Promise((resolve) => {
    frame.addEventListener("load", resolve, { once: true });
  });
  parent.append(frame);
  const asked = new Map<number, Asked>();
  let closedBecause: string | null = null;
  const close = (reason: string) => {
    closedBecause ??= reason;
    for (const { fail, body } of asked.values()) {
      fail(new TypeError(reason));
      body?.error(new TypeError(reason));
    }
    asked.clear();
    port.close();
    frame.remove();
  };
  try {
    await loaded;
    const message: ConnectMessage = { kind: "transom-connect", version: 1 };
    // Only that origin may hear it, wherever the frame has gone since.
    frame.contentWindow?.postMessage(message, address.origin, [port2]);
    await agreed(port, signal);
  } catch (error) {
    close("not connected");
    throw error;
  }
  frame.style.height = "2.5rem";
  port.addEventListener("message", ({ data }: MessageEvent<ToSite>) => {
    if (data.kind === "closed") {
      close(data.reason);
    } else {
      receive(data, asked, port);
    }
  });
  let lastId = 0;
  return {
    baseUrl: new URL("v1", base).href,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      if (closedBecause !== null) {
        throw new TypeError(closedBecause);
      }
      const path = request.url.startsWith(base) ? `/${request.url.slice(base.length)}` : null;
      if (path === null) {
        throw new TypeError(`${request.url} is not below ${base}`);
      }
      const id = ++lastId;
      const body = request.method === "GET" ? null : await request.text();
      return new Promise<Response>((resolve, reject) => {
        asked.set(id, { head: resolve, fail: reject, body: null });
        request.signal.addEventListener("abort", () => {
          const waiting = asked.get(id);
          asked.delete(id);
          post(port, { kind: "cancel", id });
          waiting?.fail(request.signal.reason as Error);
          waiting?.body?.error(request.signal.reason);
        });
        post(port, { kind: "request", id, method: request.method, path, body });
      });
    },
    close: () => {
      close("the connection was closed");
    },
  };
}

function agreed(port: MessagePort, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.addEventListener("abort", () => {
      reject(signal.reason as Error);
    });
    port.addEventListener("message", ({ data }: MessageEvent<ToSite>) => {
      if (data.kind === "open") {
        resolve();
      } else if (data.kind === "refused") {
        reject(new Error(data.reason));
      }
    });
    port.start();
  });
}

function receive(message: ToSite, asked: Map<number, Asked>, port: MessagePort): void {
  if (!("id" in message)) {
    return;
  }
  const { id } = message;
  const waiting = asked.get(id);
  if (waiting === undefined) {
    return;
  }
  switch (message.kind) {
    case "head": {
      const stream = new ReadableStream<Uint8Array>(
        {
          start: (controller) => {
            waiting.body = controller;
          },
          pull: () => {
            post(port, { kind: "pull", id });
          },
          cancel: () => {
            asked.delete(id);
            post(port, { kind: "cancel", id });
          },
        },
        // Nothing is asked for before somebody reads.
        { highWaterMark: 0 },
      );
      const headers = message.headers.map(([name, value]): [string, string] => [name, value]);
      waiting.head(new Response(stream, { status: message.status, headers }));
      return;
    }
    case "chunk":
      waiting.body?.enqueue(message.bytes);
      return;
    case "end":
      asked.delete(id);
      waiting.body?.close();
      return;
    case "failed":
      asked.delete(id);
      waiting.fail(new TypeError(message.reason));
      waiting.body?.error(new TypeError(message.reason));
      return;
  }
}

function post(port: MessagePort, message: ToFrame): void {
  port.postMessage(message);
}
