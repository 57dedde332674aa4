/** A network that answers from a script and remembers what it was asked. */
import type { DownloadOptions } from "../../web/src/store/download.ts";
import type { Bytes } from "../../web/src/store/verify.ts";

export interface Asked {
  url: string;
  range: string | null;
  cache: RequestCache | undefined;
}

export type Reply = (asked: Asked) => Response | Promise<Response>;

export class FakeNetwork {
  readonly asked: Asked[] = [];
  readonly pauses: number[] = [];
  readonly #replies: Reply[];

  /** Replies are used in order; the last one stays. */
  constructor(...replies: Reply[]) {
    this.#replies = replies;
  }

  /** Hosts that have answered a download. */
  readonly answered = new Set<string>();

  /** What a download takes in place of the real network, clock and chance. */
  get options(): Pick<DownloadOptions, "fetch" | "pause" | "random" | "answered"> & {
    fetch: typeof fetch;
  } {
    const { fetch, pause, answered } = this;
    return { fetch, pause, answered, random: () => 0 };
  }

  readonly fetch: typeof fetch = async (input, init) => {
    const asked = {
      url: typeof input === "string" ? input : input instanceof URL ? input.href : input.url,
      range: new Headers(init?.headers).get("Range"),
      cache: init?.cache,
    };
    this.asked.push(asked);
    const reply = this.#replies[Math.min(this.asked.length, this.#replies.length) - 1];
    if (reply === undefined) {
      throw new TypeError("no reply was scripted");
    }
    return reply(asked);
  };

  readonly pause = (milliseconds: number): Promise<void> => {
    this.pauses.push(milliseconds);
    return Promise.resolve();
  };
}

export function whole(bytes: Bytes): Reply {
  return () => new Response(bytes);
}

/** The rest of the file from where the request asked, as a server with Range support. */
export function rest(bytes: Bytes): Reply {
  return ({ range }) => {
    const start = Number(/bytes=(\d+)-/.exec(range ?? "")?.[1] ?? 0);
    return new Response(bytes.slice(start), { status: range === null ? 200 : 206 });
  };
}

/** Exactly what was asked for. */
export function ranges(bytes: Bytes): Reply {
  return ({ range }) => {
    const [, start, end] = /bytes=(\d+)-(\d*)/.exec(range ?? "") ?? [];
    const part = bytes.slice(Number(start ?? 0), end ? Number(end) + 1 : bytes.length);
    return new Response(part, { status: range === null ? 200 : 206 });
  };
}

/** The first bytes, then the connection breaks. */
export function broken(bytes: Bytes, after: number): Reply {
  return ({ range }) => {
    let sent = false;
    const stream = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (sent) {
          controller.error(new TypeError("connection reset"));
        } else {
          sent = true;
          controller.enqueue(bytes.slice(0, after));
        }
      },
    });
    return new Response(stream, { status: range === null ? 200 : 206 });
  };
}

export function status(code: number): Reply {
  return () => new Response("no", { status: code });
}

export function unreachable(): Reply {
  return () => Promise.reject(new TypeError("fetch failed"));
}
