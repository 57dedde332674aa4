/**
 * An engine that outlives its GPU: what dies is started again, and an answer goes on where it was.
 *
 * A driver that resets, a laptop that changes adapters or a worker that runs out of memory ends a
 * worker. A new one loads the models again, from storage, and is told the tokens that an answer has
 * already. Whoever waits sees a pause.
 */
import { TransomError } from "../errors.ts";
import type {
  Addressed,
  ChatRequest,
  Done,
  EmbedRequest,
  Embeddings,
  LoadProgress,
  LoadReport,
  LoadRequest,
} from "../protocol.ts";
import type { EngineClient, Generation } from "./engine-client.ts";

/** Without a token in between: a GPU that fails at once fails for a reason that stays. */
const MAX_REVIVALS = 3;
const REVIVED: ReadonlySet<TransomError["code"]> = new Set(["device-lost", "engine-crashed"]);

export type Client = Pick<EngineClient, "load" | "unload" | "generate" | "embed">;

/** A worker's client, and how to end the worker; what waits for it must hear that. */
export interface Started<C extends Client> {
  client: C;
  end: () => void;
}

export class SteadyEngine<C extends Client> implements Client {
  readonly #start: () => Started<C>;
  readonly #onRevival: (isOver: boolean) => void;
  #started: Started<C>;
  /** What is loaded, by name, the one loaded last at the end. */
  readonly #loaded = new Map<string, LoadRequest>();
  #revival: Promise<void> | null = null;

  /** @param onRevival called when a worker has died, and when another has taken its place. */
  constructor(start: () => Started<C>, onRevival: (isOver: boolean) => void) {
    this.#start = start;
    this.#onRevival = onRevival;
    this.#started = start();
  }

  /** The worker of this moment, for requests that are easily made again. */
  get current(): C {
    return this.#started.client;
  }

  async load(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<LoadReport> {
    const report = await this.#started.client.load(request, onProgress);
    for (const name of [...report.unloaded, report.model]) {
      this.#loaded.delete(name);
    }
    this.#loaded.set(report.model, request);
    return report;
  }

  async unload(model: string): Promise<void> {
    await this.#started.client.unload(model);
    this.#loaded.delete(model);
  }

  generate(
    request: ChatRequest & Addressed,
    onPiece: (piece: { tokenId: number | null; text: string }) => void,
  ): Generation {
    const answered: number[] = [];
    let running: Generation | null = null;
    let isStopped = false;
    const attempt = ({ client }: Started<C>): Promise<Done> => {
      const rest =
        answered.length === 0 ? request : { ...request, answeredTokenIds: [...answered] };
      running = client.generate(rest, (piece) => {
        if (piece.tokenId !== null) {
          answered.push(piece.tokenId);
        }
        onPiece(piece);
      });
      if (isStopped) {
        running.abort();
      }
      return running.done;
    };
    return {
      done: this.#steadily(attempt, () => answered.length),
      abort: () => {
        isStopped = true;
        running?.abort();
      },
    };
  }

  embed(request: EmbedRequest & Addressed): Promise<Embeddings> {
    return this.#steadily(
      ({ client }) => client.embed(request),
      () => 0,
    );
  }

  /** @param reached how far the work has come; further than before, and failures count anew. */
  async #steadily<T>(work: (started: Started<C>) => Promise<T>, reached: () => number): Promise<T> {
    let before = reached();
    for (let revivals = 0; ; revivals++) {
      await this.#revival?.catch(() => undefined);
      const started = this.#started;
      try {
        return await work(started);
      } catch (error) {
        if (reached() > before) {
          before = reached();
          revivals = 0;
        }
        const isMended = error instanceof TransomError && REVIVED.has(error.code);
        if (!isMended || this.#loaded.size === 0 || revivals >= MAX_REVIVALS) {
          throw error;
        }
        // Of several requests that die together, the first one sees to it.
        if (started === this.#started) {
          this.#revival = this.#revive([...this.#loaded.values()]);
        }
        try {
          await this.#revival;
        } catch {
          // Why it died says more than why another could not be had.
          throw error;
        }
      }
    }
  }

  async #revive(requests: readonly LoadRequest[]): Promise<void> {
    this.#started.end();
    this.#started = this.#start();
    this.#onRevival(false);
    try {
      for (const request of requests) {
        await this.#started.client.load(request, () => undefined);
      }
    } finally {
      this.#onRevival(true);
      this.#revival = null;
    }
  }
}
