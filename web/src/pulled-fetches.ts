/**
 * Fetches that are made for whoever is at the other end of a port, each under a number of theirs: the
 * answer's head, then a chunk for each pull, so that nobody is sent more than they take.
 *
 * Knows nothing of who may ask for what.
 */
import { describe } from "./errors.ts";

/** What is told of a fetch; `Head` beside its number and kind. */
export type FetchMessage<Head> =
  | ({ kind: "head"; id: number } & Head)
  | { kind: "chunk"; id: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end"; id: number }
  | { kind: "failed"; id: number; reason: string };

interface Running {
  controller: AbortController;
  reader: ReadableStreamDefaultReader<Uint8Array<ArrayBuffer>> | null;
}

export class PulledFetches<Head> {
  readonly #tell: (message: FetchMessage<Head>) => void;
  readonly #most: number;
  readonly #running = new Map<number, Running>();

  /** @param most fetches at once; more are refused. */
  constructor(tell: (message: FetchMessage<Head>) => void, most: number) {
    this.#tell = tell;
    this.#most = most;
  }

  /** @param refusal why it may not be made; null: it may. */
  async begin(
    id: number,
    refusal: string | null,
    request: (signal: AbortSignal) => Promise<Response>,
    headOf: (response: Response) => Head,
  ): Promise<void> {
    const reason = refusal ?? this.#refusalOf(id);
    if (reason !== null) {
      this.#tell({ kind: "failed", id, reason });
      return;
    }
    const run: Running = { controller: new AbortController(), reader: null };
    this.#running.set(id, run);
    try {
      const response = await request(run.controller.signal);
      if (this.#running.get(id) !== run) {
        void response.body?.cancel();
        return;
      }
      run.reader = response.body?.getReader() ?? null;
      this.#tell({ kind: "head", id, ...headOf(response) });
    } catch (error) {
      this.#fail(id, error);
    }
  }

  async pull(id: number): Promise<void> {
    try {
      const step = await this.#running.get(id)?.reader?.read();
      if (step?.done === false) {
        if (this.#running.has(id)) {
          // A copy: what the stream gave may be a view of more.
          this.#tell({ kind: "chunk", id, bytes: step.value.slice() });
        }
      } else if (this.#running.delete(id)) {
        this.#tell({ kind: "end", id });
      }
    } catch (error) {
      this.#fail(id, error);
    }
  }

  cancel(id: number): void {
    this.#running.get(id)?.controller.abort();
    this.#running.delete(id);
  }

  cancelAll(): void {
    for (const id of [...this.#running.keys()]) {
      this.cancel(id);
    }
  }

  #refusalOf(id: number): string | null {
    if (this.#running.size >= this.#most) {
      return `More than ${this.#most} requests at once.`;
    }
    return this.#running.has(id) ? "The request has the number of another one." : null;
  }

  #fail(id: number, error: unknown): void {
    if (this.#running.delete(id)) {
      this.#tell({ kind: "failed", id, reason: describe(error) });
    }
  }
}
