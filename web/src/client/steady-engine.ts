/**
 * An engine that outlives its GPU: what dies is started again, and an answer goes on where it was.
 *
 * A driver that resets, a laptop that changes adapters or a worker that runs out of memory ends a
 * worker. A new one loads the models again, from storage, and is told the tokens that an answer has
 * already. Loads and downloads that were under way beside it are begun again: what had come of them is in
 * storage. Whoever waits sees a pause.
 */
import type { CompleteEvent, CompleteRequest, EngineCalls, OpenedModel } from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import type {
  Addressed,
  ChatRequest,
  Done,
  DownloadReport,
  EmbedRequest,
  Embeddings,
  LoadProgress,
  LoadReport,
  LoadRequest,
} from "../protocol.ts";
import { stoppable } from "../stopping.ts";
import type { EngineClient, Generation } from "./engine-client.ts";

/** Without a token (or a byte) in between: a GPU that fails at once fails for a reason that stays. */
const MAX_REVIVALS = 3;
/** A load that ends the engine by itself, with its weights or its shaders, is likely to do so again. */
const MAX_REVIVALS_BY_LOAD = 1;
const REVIVED: ReadonlySet<TransomError["code"]> = new Set(["device-lost", "engine-crashed"]);

export type Client = Pick<
  EngineClient,
  | "load"
  | "download"
  | "unload"
  | "generate"
  | "complete"
  | "embed"
  | "open"
  | "tokenize"
  | "detokenize"
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

/** What is to outlive the engine, and how. */
interface Steadiness {
  /** How far it has come; further than before, and failures count anew. */
  reached: () => number;
  /** It brings a model; else it asks one that is loaded, and is nothing without it. */
  isBringing?: boolean;
  /** How often the engine is revived because of it, however far it comes. */
  ownRevivals?: number;
  signal?: AbortSignal | undefined;
}

export class SteadyEngine<C extends Client> implements Omit<Client, "complete"> {
  readonly #start: () => Started<C>;
  readonly #onRevival: (isOver: boolean) => void;
  readonly #onBringing: () => void;
  #started: Started<C>;
  /** What is loaded, by name, the one loaded last at the end. */
  readonly #loaded = new Map<string, LoadedModel>();
  /** Loads on their way, by source. */
  readonly #loading = new Map<string, Loading>();
  #revival: Promise<void> | null = null;

  /**
   * @param onRevival called when a worker has died, and when another has taken its place.
   * @param onBringing called before a model comes, by a load or a download.
   */
  constructor(
    start: () => Started<C>,
    onRevival: (isOver: boolean) => void,
    onBringing: () => void = () => undefined,
  ) {
    this.#start = start;
    this.#onRevival = onRevival;
    this.#onBringing = onBringing;
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
    this.#onBringing();
    const { reached, note } = progressOf(onProgress);
    const report = await this.#steadily(({ client }) => client.load(request, note), {
      reached,
      isBringing: true,
      ownRevivals: MAX_REVIVALS_BY_LOAD,
    });
    for (const name of [...report.unloaded, report.model]) {
      this.#loaded.delete(name);
    }
    this.#loaded.set(report.model, { request, report });
    return report;
  }

  /** See `EngineClient.download`. */
  async download(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
    signal?: AbortSignal,
  ): Promise<DownloadReport> {
    this.#onBringing();
    const { reached, note } = progressOf(onProgress);
    return this.#steadily(({ client }) => client.download(request, note, signal), {
      reached,
      isBringing: true,
      signal,
    });
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
      done: this.#steadily(attempt, { reached: () => answered.length }),
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
      { reached: () => tokens },
    );
  }

  embed(request: EmbedRequest & Addressed, signal?: AbortSignal): Promise<Embeddings> {
    return this.#steadily(({ client }) => client.embed(request, signal), ONCE);
  }

  open(model: string): Promise<OpenedModel> {
    return this.#steadily(({ client }) => client.open(model), ONCE);
  }

  tokenize(request: EngineCalls["tokenize"]["payload"]): Promise<readonly number[]> {
    return this.#steadily(({ client }) => client.tokenize(request), ONCE);
  }

  detokenize(request: EngineCalls["detokenize"]["payload"]): Promise<string> {
    return this.#steadily(({ client }) => client.detokenize(request), ONCE);
  }

  async #steadily<T>(
    work: (started: Started<C>) => Promise<T>,
    { reached, isBringing = false, ownRevivals = Infinity, signal }: Steadiness,
  ): Promise<T> {
    let before = reached();
    let own = 0;
    for (let revivals = 0; ; revivals++) {
      await stoppable(this.#isRevived(), signal);
      const started = this.#started;
      try {
        return await work(started);
      } catch (error) {
        if (reached() > before) {
          before = reached();
          revivals = 0;
        }
        const isMended = error instanceof TransomError && REVIVED.has(error.code);
        const isMeant = isBringing || this.#loaded.size > 0;
        // Of several requests that die together, the first one sees to it.
        const isFirst = started === this.#started;
        own += isFirst ? 1 : 0;
        if (!isMended || !isMeant || revivals >= MAX_REVIVALS || own > ownRevivals) {
          throw error;
        }
        if (isFirst) {
          this.#revival = this.#revive([...this.#loaded.values()].map(({ request }) => request));
        }
        // What brings a model needs a worker, whether the others are loaded again or not.
        if (!(await stoppable(this.#isRevived(), signal)) && !isBringing) {
          // Why it died says more than why another could not be had.
          throw error;
        }
      }
    }
  }

  /** Once no revival is under way: whether all is loaded again. */
  async #isRevived(): Promise<boolean> {
    try {
      await this.#revival;
      return true;
    } catch {
      return false;
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

/** Of what comes at once, or not at all. */
const ONCE: Steadiness = { reached: () => 0 };

/** Hears how far something has come, whoever else does; another worker begins to tell from the start. */
function progressOf(onProgress: (progress: LoadProgress) => void) {
  let most = 0;
  return {
    reached: () => most,
    note: (progress: LoadProgress) => {
      most = Math.max(most, progress.doneBytes);
      onProgress(progress);
    },
  };
}
