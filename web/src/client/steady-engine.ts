/**
 * An engine that outlives its GPU: what dies is started again, and an answer goes on where it was.
 *
 * A driver that resets, a laptop that changes adapters or a worker that runs out of memory ends a
 * worker. A new one loads the models again, from storage, and is told the tokens that an answer has
 * already. Whoever waits sees a pause.
 */
import type { CompleteEvent, CompleteRequest, EngineCalls, OpenedModel } from "../api-protocol.ts";
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

export type Client = Pick<
  EngineClient,
  "load" | "unload" | "generate" | "complete" | "embed" | "open" | "tokenize" | "detokenize"
>;

/** A model that an engine has. */
export interface LoadedModel {
  request: LoadRequest;
  report: LoadReport;
}

interface Loading {
  report: Promise<LoadReport>;
  listeners: ((progress: LoadProgress) => void)[];
}

/** A worker's client, and how to end the worker; what waits for it must hear that. */
export interface Started<C extends Client> {
  client: C;
  end: () => void;
}

export class SteadyEngine<C extends Client> implements Omit<Client, "complete"> {
  readonly #start: () => Started<C>;
  readonly #onRevival: (isOver: boolean) => void;
  #started: Started<C>;
  /** What is loaded, by name, the one loaded last at the end. */
  readonly #loaded = new Map<string, LoadedModel>();
  /** Loads on their way, by source. */
  readonly #loading = new Map<string, Loading>();
  #revival: Promise<void> | null = null;

  /** @param onRevival called when a worker has died, and when another has taken its place. */
  constructor(start: () => Started<C>, onRevival: (isOver: boolean) => void) {
    this.#start = start;
    this.#onRevival = onRevival;
    this.#started = start();
  }

  /** What is loaded, by the name in its report, the one loaded last at the end. */
  get loaded(): ReadonlyMap<string, LoadedModel> {
    return this.#loaded;
  }

  /** The worker of this moment, for requests that are easily made again. */
  get current(): C {
    return this.#started.client;
  }

  /** Whoever wants what is being loaded already, by the page or by the API, waits for the same one. */
  load(request: LoadRequest, onProgress: (progress: LoadProgress) => void): Promise<LoadReport> {
    const key = JSON.stringify(request.source);
    const running = this.#loading.get(key);
    if (running !== undefined) {
      running.listeners.push(onProgress);
      return running.report;
    }
    const listeners = [onProgress];
    const report = this.#load(request, (progress) => {
      for (const listener of listeners) {
        listener(progress);
      }
    }).finally(() => this.#loading.delete(key));
    this.#loading.set(key, { report, listeners });
    return report;
  }

  async #load(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<LoadReport> {
    const report = await this.#started.client.load(request, onProgress);
    for (const name of [...report.unloaded, report.model]) {
      this.#loaded.delete(name);
    }
    this.#loaded.set(report.model, { request, report });
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

  /** See `EngineClient.complete`: each choice goes on where it was. */
  complete(
    request: CompleteRequest,
    onEvents: (events: readonly CompleteEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const answered = Array.from({ length: request.choices }, () => ({
      tokenIds: [] as number[],
      isOver: false,
    }));
    let tokens = 0;
    return this.#steadily(
      ({ client }) =>
        client.complete(
          tokens === 0 ? { request } : { request, answered },
          (events) => {
            for (const event of events) {
              const choice = answered[event.choice];
              if (event.kind === "token") {
                choice?.tokenIds.push(...event.tokenIds);
                tokens += event.tokenIds.length;
              } else if (choice !== undefined) {
                choice.isOver = true;
              }
            }
            onEvents(events);
          },
          signal,
        ),
      () => tokens,
    );
  }

  embed(request: EmbedRequest & Addressed, signal?: AbortSignal): Promise<Embeddings> {
    return this.#steadily(
      ({ client }) => client.embed(request, signal),
      () => 0,
    );
  }

  open(model: string): Promise<OpenedModel> {
    return this.#steadily(
      ({ client }) => client.open(model),
      () => 0,
    );
  }

  tokenize(request: EngineCalls["tokenize"]["payload"]): Promise<readonly number[]> {
    return this.#steadily(
      ({ client }) => client.tokenize(request),
      () => 0,
    );
  }

  detokenize(request: EngineCalls["detokenize"]["payload"]): Promise<string> {
    return this.#steadily(
      ({ client }) => client.detokenize(request),
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
          this.#revival = this.#revive([...this.#loaded.values()].map(({ request }) => request));
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
