/**
 * The engine as Python sees it: `EngineCalls` over port E, with JSON texts for Python's side.
 *
 * JSON has no infinity; on either way `null` stands for minus infinity, as the logarithm of no chance
 * and as a bias that forbids a token.
 */
import type {
  CompleteRequest,
  EngineAnswer,
  EngineCall,
  EngineCallKind,
  EngineCalls,
} from "../api-protocol.ts";
import { type WireError, toWireError } from "../errors.ts";

/** What the page was asked, on its way. */
export interface Call {
  /** Never rejects: `{"value": …}` or `{"error": {"code": …, "message": …}}`. Later than all events. */
  done: Promise<string>;
  /** Ask to stop; `done` is there soon, within one token of an answer. */
  abort(): void;
}

/** `Engine` of `transom_pyodide.host`. All payloads, results and events are JSON. */
export interface PythonEngine {
  call(kind: string, payload: string): Call;
  /** `onEvents` gets a list of `CompleteEvent`s; the value is null. */
  complete(payload: string, onEvents: EventSink): Call;
  /** This model's chat template is about to run, which may have no end; "": it has ended. */
  rendering(model: string): void;
}

/** A function, or Python's, which lives as long as somebody keeps a copy of it. */
export type EventSink = ((events: string) => void) & {
  copy?: () => EventSink;
  destroy?: () => void;
};

/** The part of a `MessagePort` that is used. */
export interface CallPort {
  postMessage(message: EngineCall): void;
  addEventListener(type: "message", listener: (event: { data: EngineAnswer }) => void): void;
  /** Where the browser tells that the other end has gone. */
  addEventListener(type: "close" | "messageerror", listener: () => void): void;
  start?(): void;
}

interface Waiting {
  settle: (result: string) => void;
  onEvents: EventSink | null;
}

type Value = EngineCalls[EngineCallKind]["reply"];

const GONE: WireError = { code: "engine-crashed", message: "The page with the engine has gone." };

export class EnginePort implements PythonEngine {
  readonly #port: CallPort;
  readonly #onRendering: (model: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #isGone = false;

  /** @param onRendering see `PythonEngine.rendering`. */
  constructor(port: CallPort, onRendering: (model: string) => void = () => undefined) {
    this.#port = port;
    this.#onRendering = onRendering;
    port.addEventListener("message", ({ data }) => {
      this.#receive(data);
    });
    const lose = () => {
      this.#isGone = true;
      for (const id of [...this.#waiting.keys()]) {
        this.#settle(id, failed(GONE));
      }
    };
    port.addEventListener("close", lose);
    port.addEventListener("messageerror", lose);
    port.start?.();
  }

  call(kind: string, payload: string): Call {
    return this.#send(kind as EngineCallKind, JSON.parse(payload), null);
  }

  complete(payload: string, onEvents: EventSink): Call {
    const request = JSON.parse(payload) as CompleteRequest;
    const logitBias = request.logitBias.map(([id, bias]): [number, number] => [
      id,
      (bias as number | null) ?? -Infinity,
    ]);
    // A function of Python's is gone when the call that brought it returns.
    const kept = onEvents.copy?.() ?? onEvents;
    return this.#send("complete", { ...request, logitBias }, kept);
  }

  rendering(model: string): void {
    this.#onRendering(model);
  }

  #send(kind: EngineCallKind, payload: unknown, onEvents: EventSink | null): Call {
    const id = this.#nextId++;
    const done = new Promise<string>((resolve) => {
      this.#waiting.set(id, { settle: resolve, onEvents });
      if (this.#isGone) {
        this.#settle(id, failed(GONE));
        return;
      }
      try {
        this.#port.postMessage({ kind, id, payload } as EngineCall);
      } catch (error) {
        this.#settle(id, failed(toWireError(error)));
      }
    });
    const abort = () => {
      if (this.#waiting.has(id)) {
        this.#send("abort", { callId: id }, null);
      }
    };
    return { done, abort };
  }

  #receive(answer: EngineAnswer): void {
    switch (answer.kind) {
      case "events":
        this.#waiting.get(answer.id)?.onEvents?.(JSON.stringify(answer.events));
        return;
      case "reply":
        this.#settle(answer.id, written(answer.value));
        return;
      case "error":
        this.#settle(answer.id, failed(answer.error));
    }
  }

  #settle(id: number, result: string): void {
    const waiting = this.#waiting.get(id);
    if (waiting !== undefined) {
      this.#waiting.delete(id);
      waiting.settle(result);
      waiting.onEvents?.destroy?.();
    }
  }
}

function written(value: Value): string {
  // JSON writes a typed array as an object of numbered fields.
  return JSON.stringify({ value }, (_, part: unknown) =>
    part instanceof Float32Array ? Array.from(part) : part,
  );
}

function failed(error: WireError): string {
  return JSON.stringify({ error });
}
