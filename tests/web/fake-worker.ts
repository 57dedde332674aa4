import type { WorkerPort } from "../../web/src/client/engine-client.ts";
import type { Request, WorkerMessage } from "../../web/src/protocol.ts";

/** The worker's end of the wire, driven by the test; messages are cloned as in a browser. */
export class FakeWorker implements WorkerPort {
  readonly requests: Request[] = [];
  readonly #listeners = new Map<string, ((event: never) => void)[]>();

  postMessage(message: unknown): void {
    this.requests.push(structuredClone(message) as Request);
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  say(message: WorkerMessage): void {
    this.emit("message", { data: structuredClone(message) });
  }

  emit(type: string, event: object): void {
    for (const listener of this.#listeners.get(type) ?? []) {
      listener(event as never);
    }
  }

  lastId(): number {
    return this.requests.at(-1)?.id ?? 0;
  }
}
