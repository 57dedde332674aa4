/**
 * Starts llama.cpp in a worker of its own (`llama-thread.ts`), so that whoever asks stays free to
 * hear an abort, and letting it go frees its memory at once.
 *
 * With several threads where the page is isolated from other origins (COOP and COEP), else with one:
 * browsers share memory between threads only then.
 */
import multiThreadScript from "@wllama/wllama/src/multi-thread/wllama.js?url";
import multiThreadWasm from "@wllama/wllama/src/multi-thread/wllama.wasm?url";
import singleThreadScript from "@wllama/wllama/src/single-thread/wllama.js?url";
import singleThreadWasm from "@wllama/wllama/src/single-thread/wllama.wasm?url";

import { TransomError } from "../../errors.ts";
import type { LlamaProcess } from "./llama.ts";

/** What goes to the thread and comes back; requests are answered in order, by their id. */
export interface ThreadMessages {
  start: { kind: "start"; id: number; script: string; wasm: string; threads: number };
  file: { kind: "file"; id: number; path: string; file: Blob };
  call: { kind: "call"; id: number; action: string; message: Uint8Array };
  request: ThreadMessages["start"] | ThreadMessages["file"] | ThreadMessages["call"];
  failure: { reason: "memory" | "refused" | "crashed"; text: string };
  answer:
    | { id: number; bytes: Uint8Array<ArrayBuffer> | null }
    | { id: number; failure: ThreadMessages["failure"] };
}

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

interface Waiting {
  resolve: (bytes: Uint8Array | null) => void;
  reject: (error: TransomError) => void;
}

/** @throws TransomError `engine-crashed` or `out-of-memory`. */
export async function startLlama(threads: number): Promise<LlamaProcess> {
  const process = new WorkerProcess();
  await process.send({
    kind: "start",
    threads,
    script: absolute(threads > 1 ? multiThreadScript : singleThreadScript),
    wasm: absolute(threads > 1 ? multiThreadWasm : singleThreadWasm),
  });
  return process;
}

/** The thread is somewhere else, and threads of the thread again. */
function absolute(url: string): string {
  return new URL(url, self.location.href).href;
}

class WorkerProcess implements LlamaProcess {
  readonly #worker = new Worker(new URL("./llama-thread.ts", import.meta.url));
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;

  constructor() {
    this.#worker.addEventListener("message", ({ data }: MessageEvent<ThreadMessages["answer"]>) => {
      const waiting = this.#waiting.get(data.id);
      this.#waiting.delete(data.id);
      if ("failure" in data) {
        waiting?.reject(errorOf(data.failure));
      } else {
        waiting?.resolve(data.bytes);
      }
    });
    this.#worker.addEventListener("error", ({ message }) => {
      this.#rejectAll(errorOf({ reason: "crashed", text: message || "its worker did not start" }));
    });
  }

  async addFile(path: string, file: Blob): Promise<void> {
    await this.send({ kind: "file", path, file });
  }

  async call(action: string, message: Uint8Array): Promise<Uint8Array> {
    return (await this.send({ kind: "call", action, message })) ?? new Uint8Array(0);
  }

  send(request: WithoutId<ThreadMessages["request"]>): Promise<Uint8Array | null> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject });
      this.#worker.postMessage({ ...request, id });
    });
  }

  end(): void {
    this.#worker.terminate();
    this.#rejectAll(new TransomError("aborted", "The model was unloaded."));
  }

  #rejectAll(error: TransomError): void {
    for (const { reject } of this.#waiting.values()) {
      reject(error);
    }
    this.#waiting.clear();
  }
}

function errorOf({ reason, text }: ThreadMessages["failure"]): TransomError {
  switch (reason) {
    case "memory":
      return new TransomError(
        "out-of-memory",
        `The model does not fit into the memory that this browser gives a page's processor ` +
          `engine (${text}). Choose a smaller one.`,
      );
    case "refused":
      return new TransomError("invalid-bundle", `llama.cpp cannot run this model: ${text}`);
    case "crashed":
      return new TransomError("engine-crashed", `llama.cpp died: ${text}. Reload the page.`);
  }
}
