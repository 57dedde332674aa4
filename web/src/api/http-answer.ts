/**
 * One HTTP answer on its way from Python to the service worker: port R of `api-protocol.ts`.
 *
 * What Python writes waits here until it is pulled, and then goes all together in one chunk. A slow
 * reader costs the answer's own bytes and no more; a quick one gets what came in one turn.
 */
import type { HttpAnswer, HttpControl } from "../api-protocol.ts";
import type { WireError } from "../errors.ts";

/** `Channel` of `transom_pyodide.host`; what is no text crosses over as JSON. */
export interface PythonChannel {
  head(status: number, headers: string): void;
  write(text: string): void;
  end(): void;
  /** Instead of `end`: what was begun has no end. */
  break_off(): void;
  /** Instead of `head`: a server may do it. `error` is a `WireError`. */
  refuse(error: string, status: number, headers: string, body: string): void;
}

/** The part of a `MessagePort` that is used. */
export interface AnswerPort {
  postMessage(message: HttpAnswer, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: { data: HttpControl }) => void): void;
  /** Where the browser tells that the other end has gone. */
  addEventListener(type: "close" | "messageerror", listener: () => void): void;
  start?(): void;
}

type HeaderPairs = readonly (readonly [name: string, value: string])[];

const encoder = new TextEncoder();

export class AnswerChannel implements PythonChannel {
  readonly #port: AnswerPort;
  readonly #leave: (reason: "over" | "cancelled") => void;
  #waiting: string[] = [];
  #isPulled = false;
  #isFlushing = false;
  #hasEnded = false;
  #isOver = false;

  /**
   * @param leave called once: "over" when all has been sent, "cancelled" when nobody waits any more.
   */
  constructor(port: AnswerPort, leave: (reason: "over" | "cancelled") => void) {
    this.#port = port;
    this.#leave = leave;
    port.addEventListener("message", ({ data }) => {
      if (data.kind === "cancel") {
        this.cancel();
      } else {
        this.#isPulled = true;
        this.#flush();
      }
    });
    port.addEventListener("close", () => {
      this.cancel();
    });
    port.addEventListener("messageerror", () => {
      this.cancel();
    });
    port.start?.();
  }

  /** Nothing that is written now goes anywhere. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** Nobody waits any more. */
  cancel(): void {
    this.#close("cancelled");
  }

  head(status: number, headers: string): void {
    this.#post({ kind: "head", status, headers: JSON.parse(headers) as HeaderPairs });
  }

  write(text: string): void {
    if (text === "" || this.#isOver) {
      return;
    }
    this.#waiting.push(text);
    if (this.#isPulled && !this.#isFlushing) {
      this.#isFlushing = true;
      // When Python has said all that it has to say in this turn.
      queueMicrotask(() => {
        this.#isFlushing = false;
        this.#flush();
      });
    }
  }

  end(): void {
    this.#hasEnded = true;
    if (!this.#isFlushing) {
      this.#flush();
    }
  }

  break_off(): void {
    this.#post({ kind: "broken" });
    this.#close("over");
  }

  refuse(error: string, status: number, headers: string, body: string): void {
    this.#post({
      kind: "refused",
      error: JSON.parse(error) as WireError,
      status,
      headers: JSON.parse(headers) as HeaderPairs,
      body,
    });
    this.#close("over");
  }

  #flush(): void {
    if (this.#waiting.length > 0) {
      if (!this.#isPulled) {
        return;
      }
      const bytes = encoder.encode(this.#waiting.join(""));
      this.#waiting = [];
      this.#isPulled = false;
      this.#post({ kind: "chunk", bytes }, [bytes.buffer]);
    }
    if (this.#hasEnded) {
      this.#post({ kind: "end" });
      this.#close("over");
    }
  }

  #post(message: HttpAnswer, transfer: Transferable[] = []): void {
    if (!this.#isOver) {
      this.#port.postMessage(message, transfer);
    }
  }

  #close(reason: "over" | "cancelled"): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#waiting = [];
      this.#leave(reason);
    }
  }
}
