/**
 * The API worker of a page: started when it is needed or may soon be, joined with the engine once the
 * page leads, started again when it fails, or hangs: a chat template is a program that may have no end.
 * Knows the messages of `api-protocol.ts` and no HTTP.
 */
import type { ApiNews, PingApi, ServeApi, StartApi } from "../api-protocol.ts";
import type { WireError } from "../errors.ts";

/** The part of `Worker` that is used. */
export interface ApiWorkerPort {
  postMessage(message: StartApi | ServeApi | PingApi, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: { data: ApiNews }) => void): void;
  addEventListener(type: "error", listener: (event: { message?: string }) => void): void;
  terminate(): void;
}

export interface ApiWorkerHostOptions {
  start: () => ApiWorkerPort;
  /** Absolute address of the folder with Pyodide, with a slash at its end. */
  bundleUrl: string;
  /** Answer the engine calls that come on the port; returns how to end that. */
  serveEngine: (port: MessagePort) => () => void;
  /** Another worker is there, which knows no service worker yet; or none could be started. */
  onChange: () => void;
  onStarted: (seconds: number) => void;
  /** The worker was ended in the middle of requests, which must not be asked again; then `onChange`. */
  onHang: (error: WireError) => void;
}

/** What fails more often fails for a reason that stays. */
const MAX_STARTS = 3;
/** Between two pings. Ticks are counted, not time: a tab that slept has had few of them. */
export const PING_MILLISECONDS = 5000;
/** Slow phones need seconds for a long conversation. */
const MAX_UNANSWERED = 4;
const HANG_SECONDS = (PING_MILLISECONDS * MAX_UNANSWERED) / 1000;

export class ApiWorkerHost {
  readonly #options: ApiWorkerHostOptions;
  #worker: ApiWorkerPort | null = null;
  /** Our end of port E; calls on it wait until the page leads. */
  #engine: MessagePort | null = null;
  #endEngine: (() => void) | null = null;
  #isEngaged = false;
  #starts = 0;
  #count = 0;
  #failure: WireError | null = null;
  /** While the worker is at work. */
  #pings: ReturnType<typeof setInterval> | null = null;
  #unanswered = 0;
  /** Whose chat template runs; "": none. */
  #rendering = "";
  /** How often in a row a model's template had no end. */
  readonly #hangs = new Map<string, number>();

  constructor(options: ApiWorkerHostOptions) {
    this.#options = options;
  }

  /** Why there is no API worker; null while there is one or may be. */
  get failure(): WireError | null {
    return this.#failure;
  }

  /** How many have been started; another number means another worker. */
  get count(): number {
    return this.#count;
  }

  /** Start it, if it has not been started. */
  prepare(): void {
    if (this.#worker === null && this.#failure === null) {
      this.#start();
    }
  }

  /** The page leads: the worker may use the engine. */
  engage(): void {
    this.#isEngaged = true;
    this.prepare();
    this.#join();
  }

  /** Answer what comes on port A. What was not answered before a worker failed is asked again. */
  serve(port: MessagePort): void {
    this.prepare();
    this.#worker?.postMessage({ kind: "serve", port }, [port]);
  }

  end(): void {
    this.#rest();
    this.#rendering = "";
    this.#endEngine?.();
    this.#endEngine = null;
    this.#engine?.close();
    this.#engine = null;
    this.#worker?.terminate();
    this.#worker = null;
  }

  #start(): void {
    const { start, bundleUrl } = this.#options;
    this.#starts++;
    this.#count++;
    const worker = start();
    const { port1, port2 } = new MessageChannel();
    let hasStarted = false;
    this.#worker = worker;
    this.#engine = port1;
    worker.addEventListener("message", ({ data }) => {
      if (worker !== this.#worker) {
        return;
      }
      this.#unanswered = 0;
      switch (data.kind) {
        case "failed":
          this.#fail(worker, data.error);
          return;
        case "started":
          hasStarted = true;
          this.#starts = 1;
          this.#options.onStarted(data.seconds);
          return;
        case "at-work":
          this.#rest();
          if (data.isAtWork) {
            this.#watch(worker);
          }
          return;
        case "rendering":
          if (data.model === "") {
            this.#hangs.delete(this.#rendering);
          }
          this.#rendering = data.model;
          return;
        case "pong":
      }
    });
    worker.addEventListener("error", ({ message }) => {
      // Later ones are of one request, which hears of it; before, the script itself did not run.
      if (!hasStarted) {
        const words = message ? `: ${message}` : "";
        this.#fail(worker, { code: "internal", message: `The API worker failed${words}.` });
      }
    });
    worker.postMessage({ kind: "start", bundleUrl, engine: port2 }, [port2]);
  }

  #join(): void {
    if (this.#isEngaged && this.#engine !== null && this.#endEngine === null) {
      this.#endEngine = this.#options.serveEngine(this.#engine);
    }
  }

  #watch(worker: ApiWorkerPort): void {
    const ping = () => {
      if (this.#unanswered >= MAX_UNANSWERED) {
        this.#hang();
      } else {
        this.#unanswered++;
        worker.postMessage({ kind: "ping" }, []);
      }
    };
    ping();
    this.#pings = setInterval(ping, PING_MILLISECONDS);
  }

  #rest(): void {
    if (this.#pings !== null) {
      clearInterval(this.#pings);
      this.#pings = null;
    }
    this.#unanswered = 0;
  }

  #hang(): void {
    const model = this.#rendering;
    const times = (this.#hangs.get(model) ?? 0) + 1;
    this.#hangs.set(model, times);
    this.end();
    this.#start();
    this.#join();
    this.#options.onHang({ code: "internal", message: hangWords(model, times) });
    this.#options.onChange();
  }

  #fail(worker: ApiWorkerPort, error: WireError): void {
    if (worker !== this.#worker) {
      return;
    }
    this.end();
    if (this.#starts < MAX_STARTS) {
      this.#start();
      this.#join();
    } else {
      this.#failure = error;
    }
    this.#options.onChange();
  }
}

function hangWords(model: string, times: number): string {
  if (model === "") {
    return `The API in this page did not answer for ${HANG_SECONDS} seconds, and was started again.`;
  }
  const what = `The chat template of ${model} did not end within ${HANG_SECONDS} seconds`;
  return times === 1
    ? `${what}; the API in this page was started again.`
    : `${what}, ${times} times in a row: it seems to have no end, so ask another model.`;
}
