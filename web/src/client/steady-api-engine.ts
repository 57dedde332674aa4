/**
 * What the API asks, answered by the page's engine: models are found by name and loaded when they are
 * asked for. Knows the catalogue and the engine; no HTTP.
 */
import type {
  CompleteEvent,
  CompleteRequest,
  EngineCalls,
  ModelRow,
  OpenedModel,
} from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import type { LoadProgress, LoadReport } from "../protocol.ts";
import type { ApiEngine } from "./api-engine.ts";
import type { Catalogue } from "./catalogue.ts";
import { isSameName, nameOfSource, wholeName } from "./model-name.ts";
import type { Client, LoadedModel, SteadyEngine } from "./steady-engine.ts";

/** How a load goes that the API has asked for, for the page to show; all by the API's name. */
export interface LoadListener {
  onProgress(name: string, progress: LoadProgress): void;
  onLoaded(name: string, report: LoadReport): void;
  onFailed(name: string, error: unknown): void;
}

export type Steady = Pick<
  SteadyEngine<Client>,
  "load" | "loaded" | "unload" | "complete" | "embed" | "open" | "tokenize" | "detokenize"
>;

/** A loaded model, by the API's name. */
interface Ready {
  name: string;
  loaded: LoadedModel;
  /** 0 when it was there. */
  loadSeconds: number;
}

export class SteadyApiEngine implements ApiEngine {
  readonly #engine: Steady;
  readonly #catalogue: Pick<Catalogue, "entries" | "find">;
  readonly #listener: Partial<LoadListener>;
  /** Loads on their way, by name: whoever else asks waits for the same one. */
  readonly #loading = new Map<string, Promise<Ready>>();
  /** What loaded models told of themselves. */
  readonly #facts = new WeakMap<LoadReport, OpenedModel>();

  constructor(
    engine: Steady,
    catalogue: Pick<Catalogue, "entries" | "find">,
    listener: Partial<LoadListener> = {},
  ) {
    this.#engine = engine;
    this.#catalogue = catalogue;
    this.#listener = listener;
  }

  async models(): Promise<readonly ModelRow[]> {
    const entries = await this.#catalogue.entries();
    return entries.map(({ row }) => ({
      ...row,
      loadedBytes: this.#find(row.name)?.loaded.report.gpuBytes ?? null,
    }));
  }

  async open(name: string, signal?: AbortSignal): Promise<OpenedModel> {
    const ready = await this.#ready(name, signal);
    const { report } = ready.loaded;
    let facts = this.#facts.get(report);
    if (facts === undefined) {
      facts = await this.#engine.open(report.model);
      this.#facts.set(report, facts);
    }
    return { ...facts, name: ready.name, loadSeconds: ready.loadSeconds };
  }

  async complete(
    request: CompleteRequest,
    onEvents: (events: readonly CompleteEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const model = await this.#modelOf(request.model, signal);
    await this.#engine.complete({ ...request, model }, onEvents, signal);
    requireWanted(signal);
  }

  async embed(
    { model: name, inputs }: EngineCalls["embed"]["payload"],
    signal?: AbortSignal,
  ): Promise<EngineCalls["embed"]["reply"]> {
    const model = await this.#modelOf(name, signal);
    const { vectors, tokenCounts } = await this.#engine.embed({ model, texts: inputs }, signal);
    return { vectors, tokens: tokenCounts.reduce((sum, count) => sum + count, 0) };
  }

  async tokenize(request: EngineCalls["tokenize"]["payload"]): Promise<readonly number[]> {
    const model = await this.#modelOf(request.model);
    return this.#engine.tokenize({ ...request, model });
  }

  async detokenize(request: EngineCalls["detokenize"]["payload"]): Promise<string> {
    const model = await this.#modelOf(request.model);
    return this.#engine.detokenize({ ...request, model });
  }

  async unload(name: string): Promise<void> {
    const loaded = this.#find(name);
    if (loaded !== null) {
      await this.#engine.unload(loaded.loaded.report.model);
    }
  }

  /** What the engine calls a model, which is loaded then. */
  async #modelOf(name: string, signal?: AbortSignal): Promise<string> {
    return (await this.#ready(name, signal)).loaded.report.model;
  }

  async #ready(name: string, signal?: AbortSignal): Promise<Ready> {
    requireWanted(signal);
    const found = this.#find(name);
    if (found !== null) {
      return { ...found, loadSeconds: 0 };
    }
    const key = (wholeName(name) ?? name).toLowerCase();
    let loading = this.#loading.get(key);
    if (loading === undefined) {
      loading = this.#load(name).finally(() => this.#loading.delete(key));
      this.#loading.set(key, loading);
      // Whoever asked may be gone when it fails.
      loading.catch(() => undefined);
    }
    return signal === undefined ? loading : Promise.race([loading, stopped(signal)]);
  }

  async #load(asked: string): Promise<Ready> {
    const entry = await this.#catalogue.find(asked);
    if (entry === null) {
      throw new TransomError(
        "model-not-found",
        `There is no model ${asked} in this browser, and this page's host offers none.`,
      );
    }
    const { name } = entry.row;
    const { onProgress, onLoaded, onFailed } = this.#listener;
    const startedAt = performance.now();
    try {
      const report = await this.#engine.load(entry.request, (progress) => {
        onProgress?.(name, progress);
      });
      onLoaded?.(name, report);
      const loadSeconds = (performance.now() - startedAt) / 1000;
      return { name, loaded: { request: entry.request, report }, loadSeconds };
    } catch (error) {
      onFailed?.(name, error);
      throw error;
    }
  }

  /** A model that is loaded already, whoever asked for it; null for others. */
  #find(asked: string): Omit<Ready, "loadSeconds"> | null {
    const wanted = wholeName(asked) ?? asked;
    for (const loaded of this.#engine.loaded.values()) {
      const name = nameOfSource(loaded.request.source, loaded.report.model);
      if (name !== null && isSameName(name, wanted)) {
        return { name, loaded };
      }
    }
    return null;
  }
}

function requireWanted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) {
    throw abortion();
  }
}

function stopped(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    signal.addEventListener(
      "abort",
      () => {
        reject(abortion());
      },
      { once: true },
    );
  });
}

function abortion(): TransomError {
  return new TransomError("aborted", "Nobody waits for this answer any more.");
}
