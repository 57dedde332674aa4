/**
 * The engine as the API sees it: `EngineCalls` of `api-protocol.ts` as methods, and the page's end of
 * the port on which the API worker asks for them.
 *
 * `steady-api-engine.ts` is the real one; tests bring fakes. Knows no HTTP and no GPU.
 */
import type {
  CompleteEvent,
  CompleteRequest,
  EngineAnswer,
  EngineCall,
  EngineCalls,
  EngineCallKind,
  ModelRow,
  OpenedModel,
} from "../api-protocol.ts";
import { TransomError, toWireError } from "../errors.ts";

/** All that takes long ends with `aborted` soon after its signal; what was said before counts. */
export interface ApiEngine {
  /** Models that may be asked for by name: stored in this browser, or offered by the host. */
  models(): Promise<readonly ModelRow[]>;

  /**
   * Load a model where it is not loaded; a load that nobody waits for any more goes on.
   *
   * @throws TransomError `model-not-found` where nobody has it, or why it cannot be loaded.
   */
  open(name: string, signal?: AbortSignal): Promise<OpenedModel>;

  /**
   * Continue a prompt; resolves after the last choice's `done`.
   *
   * @param onEvents called with all events that came together, in order.
   * @throws TransomError `context-overflow`, `invalid-request`, `not-loaded`, `aborted`, …
   */
  complete(
    request: CompleteRequest,
    onEvents: (events: readonly CompleteEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void>;

  /** Vectors of length 1, in order. @throws TransomError `context-overflow` naming the input. */
  embed(
    request: EngineCalls["embed"]["payload"],
    signal?: AbortSignal,
  ): Promise<EngineCalls["embed"]["reply"]>;

  tokenize(request: EngineCalls["tokenize"]["payload"]): Promise<readonly number[]>;

  detokenize(request: EngineCalls["detokenize"]["payload"]): Promise<string>;

  /** Free its GPU memory; no error where it is not loaded. */
  unload(name: string): Promise<void>;
}

/** The part of a `MessagePort` that is used. */
export interface CallsPort {
  postMessage(message: EngineAnswer): void;
  addEventListener(type: "message", listener: (event: { data: EngineCall }) => void): void;
  /** Where the browser tells that the other end has gone. */
  addEventListener(type: "close" | "messageerror", listener: () => void): void;
  start?(): void;
  close(): void;
}

/**
 * Answer the calls that come on a port. A port that dies aborts its calls.
 *
 * @returns a function that aborts all calls and closes the port: for whoever knows that the other
 *   end has gone, where the browser does not tell.
 */
export function serveEngineCalls(port: CallsPort, engine: ApiEngine): () => void {
  const running = new Map<number, AbortController>();
  let isClosed = false;

  const post = (message: EngineAnswer) => {
    if (!isClosed) {
      port.postMessage(message);
    }
  };
  const perform = (call: EngineCall, signal: AbortSignal): Promise<Reply> => {
    switch (call.kind) {
      case "models":
        return engine.models();
      case "open":
        return engine.open(call.payload.name, signal);
      case "complete":
        return engine
          .complete(
            call.payload,
            (events) => {
              post({ kind: "events", id: call.id, events });
            },
            signal,
          )
          .then(() => null);
      case "abort":
        running
          .get(call.payload.callId)
          ?.abort(new TransomError("aborted", "Whoever asked does not wait any more."));
        return Promise.resolve(null);
      case "embed":
        return engine.embed(call.payload, signal);
      case "tokenize":
        return engine.tokenize(call.payload);
      case "detokenize":
        return engine.detokenize(call.payload);
      case "unload":
        return engine.unload(call.payload.model).then(() => null);
    }
  };
  const answer = async (call: EngineCall) => {
    const controller = new AbortController();
    running.set(call.id, controller);
    try {
      post({ kind: "reply", id: call.id, value: await perform(call, controller.signal) });
    } catch (error) {
      // An answer that was stopped has ended as it was asked to.
      if (call.kind === "complete" && controller.signal.aborted) {
        post({ kind: "reply", id: call.id, value: null });
      } else {
        post({ kind: "error", id: call.id, error: toWireError(error) });
      }
    } finally {
      running.delete(call.id);
    }
  };
  const close = () => {
    if (!isClosed) {
      isClosed = true;
      for (const controller of running.values()) {
        controller.abort(new TransomError("aborted", "Whoever asked has gone."));
      }
      port.close();
    }
  };

  port.addEventListener("message", ({ data }) => {
    void answer(data);
  });
  port.addEventListener("close", close);
  port.addEventListener("messageerror", close);
  port.start?.();
  return close;
}

type Reply = EngineCalls[EngineCallKind]["reply"];
