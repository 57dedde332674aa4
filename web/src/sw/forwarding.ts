/**
 * One request to the API worker and back: port R of `api-protocol.ts` on one side, a `Response` on the
 * other. The body is made as it is read: each `pull` asks for one more chunk.
 */
import type { HttpAnswer, HttpControl, HttpRequest } from "../api-protocol.ts";
import { describe } from "../errors.ts";
import type { KeptRequest } from "./kept-request.ts";
import type { Leader } from "./leaders.ts";

export type Refusal = Extract<HttpAnswer, { kind: "refused" }>;

export type Outcome =
  | { kind: "answer"; response: Response }
  | { kind: "refused"; refusal: Refusal }
  /** The leader or its API worker has gone before the first chunk: another one may be asked. */
  | { kind: "gone" }
  | { kind: "late" };

type Head = Extract<HttpAnswer, { kind: "head" }>;

const NO_BODY: ReadonlySet<number> = new Set([204, 205, 304]);

/** How long a head waits for what follows: a leader that is closing says it and nothing more. */
const CHUNK_MILLISECONDS = 250;

/**
 * Resolves with the first chunk, so that what fails before has said nothing yet; or soon after the
 * head, because Chromium tells of a client that has left only those who write to it.
 *
 * @param from this service worker (`life.ts`).
 * @param late aborts the wait for a head.
 * @throws the reason of the request's own signal: nobody waits any more. Later, that breaks the body.
 */
export function forward(
  kept: KeptRequest,
  leader: Leader & { port: MessagePort },
  from: string,
  late: AbortSignal,
): Promise<Outcome> {
  const { port1: port, port2: theirs } = new MessageChannel();
  const body = new AnswerBody(port);
  const over = new AbortController();
  const leave = () => {
    over.abort();
    port.close();
  };
  body.onCancel = leave;
  return new Promise((resolve, reject) => {
    let head: Head | null = null;
    let isAnswered = false;
    const answer = () => {
      if (head !== null && !isAnswered) {
        isAnswered = true;
        resolve({ kind: "answer", response: toResponse(kept.method, head, body) });
      }
    };
    const lose = () => {
      // It may live, and only another port have taken this one's place.
      port.postMessage({ kind: "cancel" } satisfies HttpControl);
      leave();
      body.fail();
      resolve({ kind: "gone" });
    };
    const cancel = () => {
      port.postMessage({ kind: "cancel" } satisfies HttpControl);
      leave();
    };
    const onAbort = () => {
      cancel();
      body.fail(describe(kept.signal.reason));
      reject(kept.signal.reason as Error);
    };
    const onLate = () => {
      if (head === null) {
        cancel();
        resolve({ kind: "late" });
      }
    };
    port.addEventListener("message", ({ data }: MessageEvent<HttpAnswer>) => {
      switch (data.kind) {
        case "head":
          head = data;
          void body.pull();
          setTimeout(answer, CHUNK_MILLISECONDS);
          return;
        case "refused":
          leave();
          resolve({ kind: "refused", refusal: data });
          return;
        case "chunk":
          body.add(data.bytes);
          answer();
          return;
        case "broken":
          leave();
          body.fail("The answer broke off.");
          answer();
          return;
        case "end":
          leave();
          body.end();
          answer();
      }
    });
    port.addEventListener("close", lose);
    port.addEventListener("messageerror", lose);
    port.start();
    for (const [signal, listener] of [
      [leader.gone, lose],
      [kept.signal, onAbort],
      [late, onLate],
    ] as const) {
      if (signal.aborted) {
        listener();
        return;
      }
      signal.addEventListener("abort", listener, { signal: over.signal });
    }
    leader.port.postMessage(toMessage(kept, from, theirs), [theirs]);
  });
}

/** What says who somebody is to the server; in the page nobody asks. */
const FOR_THE_SERVER: ReadonlySet<string> = new Set(["authorization", "x-api-key"]);

/** Its body is copied on its way: it may have to be sent a second time. */
function toMessage(kept: KeptRequest, from: string, port: MessagePort): HttpRequest {
  const { method, target, body } = kept;
  const headers = [...kept.headers].filter(([name]) => !FOR_THE_SERVER.has(name));
  return { kind: "request", from, method, target, headers, body, port };
}

function toResponse(method: string, { status, headers }: Head, body: AnswerBody): Response {
  const init = { status, headers: headers.map(([name, value]): [string, string] => [name, value]) };
  return new Response(method === "HEAD" || NO_BODY.has(status) ? null : body.stream, init);
}

/** What comes on port R behind the head, as a stream. */
class AnswerBody {
  readonly stream: ReadableStream<Uint8Array<ArrayBuffer>>;
  onCancel: () => void = () => undefined;
  readonly #port: MessagePort;
  #controller!: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>;
  #isOver = false;
  #pulled: Promise<void> | null = null;
  #wake: () => void = () => undefined;

  constructor(port: MessagePort) {
    this.#port = port;
    this.stream = new ReadableStream(
      {
        start: (controller) => {
          this.#controller = controller;
        },
        pull: () => this.pull(),
        cancel: () => {
          this.#isOver = true;
          port.postMessage({ kind: "cancel" } satisfies HttpControl);
          this.onCancel();
        },
      },
      // Nothing is made before somebody reads.
      { highWaterMark: 0 },
    );
  }

  /** Ask for one more chunk, once; resolves when it is there, or the end. */
  pull(): Promise<void> {
    this.#pulled ??= this.#next();
    return this.#pulled;
  }

  add(bytes: Uint8Array<ArrayBuffer>): void {
    if (!this.#isOver) {
      this.#controller.enqueue(bytes);
      this.#release();
    }
  }

  end(): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#controller.close();
      this.#release();
    }
  }

  /** Whoever wrote it has gone: the reader gets an error, never a text that looks whole. */
  fail(words = "The page that was answering has been closed."): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#controller.error(new TypeError(words));
      this.#release();
    }
  }

  #next(): Promise<void> {
    this.#port.postMessage({ kind: "pull" } satisfies HttpControl);
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #release(): void {
    this.#pulled = null;
    this.#wake();
  }
}
