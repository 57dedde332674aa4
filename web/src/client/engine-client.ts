/**
 * The page's proxy of the engine worker: requests become promises, progress becomes callbacks.
 *
 * Knows the protocol and nothing else. A worker that dies (out of memory, a script error) rejects
 * everything that waits for it, so that nobody waits for ever.
 */
import type { CompleteEvent, EngineCalls, OpenedModel } from "../api-protocol.ts";
import { TransomError, fromWireError } from "../errors.ts";
import type {
  Addressed,
  ChatRequest,
  Completion,
  Done,
  DownloadReport,
  EmbedRequest,
  Embeddings,
  Fit,
  Imported,
  ImportProgress,
  ImportRequest,
  LoadProgress,
  LoadReport,
  LoadRequest,
  PickedFile,
  Progress,
  RequestKind,
  Requests,
  Storage,
  WorkerMessage,
} from "../protocol.ts";

/** The part of `Worker` that is used; tests bring a MessagePort-like fake. */
export interface WorkerPort {
  postMessage(message: unknown): void;
  addEventListener(type: "message", listener: (event: { data: WorkerMessage }) => void): void;
  addEventListener(type: "error", listener: (event: { message?: string }) => void): void;
  addEventListener(type: "messageerror", listener: () => void): void;
}

interface Waiting {
  resolve: (value: Requests[RequestKind]["reply"]) => void;
  reject: (error: TransomError) => void;
  onProgress: (progress: Progress) => void;
}

/** An import on its way. */
export interface Import {
  done: Promise<readonly Imported[]>;
  /** Ask to stop; `done` then rejects with `aborted`, and nothing of it is kept. */
  abort(): void;
}

/** An answer on its way. */
export interface Generation {
  done: Promise<Done>;
  /** Ask to stop; `done` then resolves with finish reason "abort" within one token. */
  abort(): void;
}

export class EngineClient {
  readonly #port: WorkerPort;
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #dead: TransomError | null = null;

  constructor(port: WorkerPort) {
    this.#port = port;
    port.addEventListener("message", ({ data }) => {
      this.#receive(data);
    });
    port.addEventListener("error", ({ message }) => {
      this.#die(message ? `The engine worker failed: ${message}` : "The engine worker failed.");
    });
    port.addEventListener("messageerror", () => {
      this.#die("The engine worker sent a message that could not be read.");
    });
  }

  load(request: LoadRequest, onProgress: (progress: LoadProgress) => void): Promise<LoadReport> {
    return this.#send("load", request, (message) => {
      if (message.kind === "loading") {
        onProgress(message.progress);
      }
    }).reply;
  }

  generate(
    request: ChatRequest & Addressed,
    onPiece: (piece: { tokenId: number | null; text: string }) => void,
  ): Generation {
    const { id, reply } = this.#send("generate", request, (message) => {
      if (message.kind === "piece") {
        onPiece({ tokenId: message.tokenId, text: message.text });
      }
    });
    return {
      done: reply,
      abort: () => {
        this.#abort(id);
      },
    };
  }

  /**
   * Continue a prompt as the API asks for it; resolves after the last event, or soon after the signal.
   *
   * @param onEvents called with all events that came together.
   */
  async complete(
    completion: Completion,
    onEvents: (events: readonly CompleteEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const { id, reply } = this.#send("complete", completion, (message) => {
      if (message.kind === "completing") {
        onEvents(message.events);
      }
    });
    await this.#until(reply, id, signal);
  }

  /** What a loaded model tells of itself. */
  open(model: string): Promise<OpenedModel> {
    return this.#ask("open", { model });
  }

  tokenize(request: EngineCalls["tokenize"]["payload"]): Promise<readonly number[]> {
    return this.#ask("tokenize", request);
  }

  detokenize(request: EngineCalls["detokenize"]["payload"]): Promise<string> {
    return this.#ask("detokenize", request);
  }

  /** One vector for each text, in order. */
  embed(request: EmbedRequest & Addressed, signal?: AbortSignal): Promise<Embeddings> {
    const { id, reply } = this.#send("embed", request, () => undefined);
    return this.#until(reply, id, signal);
  }

  /** Free a model's GPU memory; no error when it is not loaded. */
  async unload(model: string): Promise<void> {
    await this.#ask("unload", { model });
  }

  /** Whether a model will fit, before a byte of its weights. */
  fit(request: LoadRequest): Promise<Fit> {
    return this.#ask("fit", request);
  }

  /**
   * Bring a model's files into storage, without loading it.
   *
   * @param signal stops it; `aborted` then, and what has come is there for the next time.
   */
  async download(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
    signal?: AbortSignal,
  ): Promise<DownloadReport> {
    const { id, reply } = this.#send("download", request, (message) => {
      if (message.kind === "loading") {
        onProgress(message.progress);
      }
    });
    return this.#until(reply, id, signal);
  }

  /** What this browser keeps. */
  stored(): Promise<Storage> {
    return this.#ask("stored", null);
  }

  /** Let a stored model stay, or go, when room is made for others. */
  async pin(id: string, isPinned: boolean): Promise<void> {
    await this.#ask("pin", { id, isPinned });
  }

  /** Delete a stored model, and of its files those that no other needs; the bytes freed. */
  async remove(id: string, keepsFormer = false): Promise<number> {
    return (await this.#ask("remove", { id, keepsFormer })).freedBytes;
  }

  /** Delete what is kept of prompts, which only saves their running again. */
  async forgetPrompts(): Promise<void> {
    await this.#ask("forgetPrompts", null);
  }

  /** Bring files of this device into storage. */
  import(request: ImportRequest, onProgress: (progress: ImportProgress) => void): Import {
    const { id, reply } = this.#send("import", request, (message) => {
      if (message.kind === "importing") {
        onProgress(message.progress);
      }
    });
    return {
      done: reply,
      abort: () => {
        this.#abort(id);
      },
    };
  }

  /** `sha256:…` of a file of this device, whatever its size; it stays where it is. */
  async digest(
    file: PickedFile,
    onProgress: (progress: ImportProgress) => void,
    signal?: AbortSignal,
  ): Promise<string> {
    const { id, reply } = this.#send("digest", file, (message) => {
      if (message.kind === "importing") {
        onProgress(message.progress);
      }
    });
    return this.#until(reply, id, signal);
  }

  /** The worker has been ended: everybody who waits hears it. */
  end(): void {
    this.#die("The engine worker was ended.");
  }

  /** A request's reply; the worker is told when its signal comes. */
  async #until<T>(reply: Promise<T>, id: number, signal: AbortSignal | undefined): Promise<T> {
    const abort = () => {
      this.#abort(id);
    };
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted === true) {
      abort();
    }
    try {
      return await reply;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  #abort(id: number): void {
    if (this.#waiting.has(id)) {
      // Its reply says nothing new: the request's own reply tells that it ended.
      void this.#ask("abort", { requestId: id }).catch(() => undefined);
    }
  }

  #ask<K extends RequestKind>(
    kind: K,
    payload: Requests[K]["payload"],
  ): Promise<Requests[K]["reply"]> {
    return this.#send(kind, payload, () => undefined).reply;
  }

  #send<K extends RequestKind>(
    kind: K,
    payload: Requests[K]["payload"],
    onProgress: (progress: Progress) => void,
  ): { id: number; reply: Promise<Requests[K]["reply"]> } {
    const id = this.#nextId++;
    const reply = new Promise<Requests[K]["reply"]>((resolve, reject) => {
      if (this.#dead !== null) {
        reject(this.#dead);
        return;
      }
      // The protocol ties the reply's type to the request's kind, which the id stands for.
      this.#waiting.set(id, { resolve: resolve, reject, onProgress });
      this.#port.postMessage({ kind, id, payload });
    });
    return { id, reply };
  }

  #receive(message: WorkerMessage): void {
    const waiting = this.#waiting.get(message.id);
    switch (message.kind) {
      case "loading":
      case "importing":
      case "piece":
      case "completing":
        waiting?.onProgress(message);
        return;
      case "reply":
        this.#waiting.delete(message.id);
        waiting?.resolve(message.value);
        return;
      case "error":
        this.#waiting.delete(message.id);
        waiting?.reject(fromWireError(message.error));
        return;
    }
  }

  #die(message: string): void {
    this.#dead = new TransomError("engine-crashed", `${message} Reload the page.`);
    for (const { reject } of this.#waiting.values()) {
      reject(this.#dead);
    }
    this.#waiting.clear();
  }
}
