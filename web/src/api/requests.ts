/** Requests on their way through Python, each with its channel. Knows neither Pyodide nor ports. */
import type { HttpRequest } from "../api-protocol.ts";
import { toWireError } from "../errors.ts";
import { AnswerChannel, type AnswerPort } from "./http-answer.ts";
import type { PythonHandling, PythonHost } from "./python.ts";

const decoder = new TextDecoder();
const JSON_HEADERS = JSON.stringify([["Content-Type", "application/json"]]);
const UNAVAILABLE = 503;

export class Requests {
  readonly #host: Promise<PythonHost>;
  /** Those that are being answered, and for which service worker. */
  readonly #open = new Map<AnswerChannel, string>();
  /** Those that Python is at. */
  readonly #inPython = new Set<AnswerChannel>();
  readonly #onWork: (isAtWork: boolean) => void;

  /**
   * @param host rejects where Python does not start: all requests are then refused.
   * @param onWork called before Python gets the first request, and when it has none any more.
   */
  constructor(host: Promise<PythonHost>, onWork: (isAtWork: boolean) => void = () => undefined) {
    this.#host = host;
    this.#onWork = onWork;
    // Each request hears of it.
    host.catch(() => undefined);
  }

  answer(request: Omit<HttpRequest, "port"> & { port: AnswerPort }): void {
    void this.#answer(request);
  }

  /** A service worker has gone: nobody waits for what it asked. */
  leave(from: string): void {
    for (const [channel, asker] of [...this.#open]) {
      if (asker === from) {
        channel.cancel();
      }
    }
  }

  async #answer(request: Omit<HttpRequest, "port"> & { port: AnswerPort }): Promise<void> {
    let handling: PythonHandling | null = null;
    const channel = new AnswerChannel(request.port, (reason) => {
      this.#open.delete(channel);
      if (this.#inPython.delete(channel) && this.#inPython.size === 0) {
        this.#onWork(false);
      }
      if (reason === "cancelled") {
        handling?.cancel();
      }
      // Python may be in the middle of the call that ended the answer.
      setTimeout(() => handling?.destroy?.(), 0);
    });
    this.#open.set(channel, request.from);
    try {
      const host = await this.#host;
      // Whoever asked may have left while Python was starting.
      if (!channel.isOver) {
        this.#inPython.add(channel);
        if (this.#inPython.size === 1) {
          this.#onWork(true);
        }
        handling = host.handle(
          request.method,
          request.target,
          JSON.stringify(request.headers),
          request.body === null ? "" : decoder.decode(request.body),
          channel,
        );
      }
    } catch (error) {
      refuse(channel, request.target, error);
    }
  }
}

/** Where not even Python can say anything; a server gets the request, if there is one. */
function refuse(channel: AnswerChannel, target: string, error: unknown): void {
  const wire = toWireError(error);
  const said = target.startsWith("/api/")
    ? wire.message
    : { message: wire.message, type: "server_error", param: null, code: null };
  channel.refuse(JSON.stringify(wire), UNAVAILABLE, JSON_HEADERS, JSON.stringify({ error: said }));
}
