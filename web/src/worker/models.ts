/** The models of one engine worker: loads them side by side within a budget, and hands them out. */
import type { DownloadReport, Fit, LoadProgress, LoadReport, LoadRequest } from "../protocol.ts";
import type { Keeping } from "../store/bundle.ts";
import type { FunctionHints } from "../store/function-hints.ts";
import { idOf, openSource } from "../store/open-source.ts";
import { ByteMeter } from "../store/progress.ts";
import { describeAdapter, findAdapter } from "../support.ts";
import { onBestEngine } from "./choose-engine.ts";
import { downloadModel } from "./download.ts";
import { type LoadEnvironment, type LoadedModel, loadModel } from "./load.ts";
import { Rack } from "./rack.ts";
import type { PrefixStore } from "./scheduling/prefix-store.ts";
import { survey } from "./survey.ts";

export interface Surroundings {
  gpu: GPU | undefined;
  /** GiB, null where the browser does not say. */
  deviceMemory: number | null;
  origin: string;
  openKeeping: () => Promise<Keeping | null>;
  /** What conversations leave for the next visit; null where nothing is kept. */
  openPrefixes: () => Promise<PrefixStore | null>;
  openFunctionHints: () => Promise<FunctionHints | null>;
}

interface Loading {
  request: string;
  report: Promise<LoadReport>;
}

export class Models {
  readonly #surroundings: Surroundings;
  readonly #rack = new Rack<LoadedModel>();
  /** By the source's id: what is being loaded, or was. */
  readonly #loads = new Map<string, Loading>();

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** What is loaded already, or on its way, is not loaded a second time. */
  async load(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<LoadReport> {
    const id = idOf(request.source);
    const text = JSON.stringify([request.source, request.overrides]);
    const before = this.#loads.get(id);
    if (before?.request === text) {
      const report = await before.report.catch(() => null);
      // Another source's model may have taken the name.
      if (report !== null && this.#rack.again(report.model)?.report === report) {
        return { ...report, unloaded: [] };
      }
    }
    const report = this.#bringIn(id, (keeping) => this.#loadWith(keeping, request, onProgress));
    const loading = { request: text, report };
    this.#loads.set(id, loading);
    try {
      return await report;
    } catch (error) {
      if (this.#loads.get(id) === loading) {
        this.#loads.delete(id);
      }
      throw error;
    }
  }

  /** Run something on a model, which stays meanwhile. @param name the one loaded last if undefined. */
  use<R>(name: string | undefined, work: (model: LoadedModel) => Promise<R>): Promise<R> {
    return this.#rack.use(name, work);
  }

  unload(name: string): void {
    this.#rack.unload(name);
  }

  /** Will it fit: what `load` would find out, with neither weights nor a device. */
  async fit({ source, overrides, memoryBudgetBytes }: LoadRequest): Promise<Fit> {
    const { gpu, deviceMemory, origin } = this.#surroundings;
    const keeping = await this.#surroundings.openKeeping();
    const meter = new ByteMeter(() => performance.now() / 1000);
    const bundle = await openSource(source, { keeping, meter, origin });
    return onBestEngine(
      overrides,
      async () => {
        const adapter = await findAdapter(gpu);
        const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
        const machine = {
          adapter: describeAdapter(adapter),
          deviceMemory,
          maxBufferSize,
          maxStorageBufferBindingSize,
        };
        return (await survey(bundle, machine, overrides, memoryBudgetBytes)).fit;
      },
      async () => {
        const { findGguf, fitOf } = await import("./llama/gguf-bundle.ts");
        return fitOf(bundle, await findGguf(bundle));
      },
    );
  }

  /** Bring a model's files in; it is not loaded then. What is stopped goes on the next time. */
  async download(
    { source, overrides, memoryBudgetBytes }: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
    signal: AbortSignal,
  ): Promise<DownloadReport> {
    const { gpu, deviceMemory, origin } = this.#surroundings;
    return this.#bringIn(idOf(source), (keeping) =>
      downloadModel(
        overrides,
        {
          gpu,
          deviceMemory,
          memoryBudgetBytes,
          signal,
          openBundle: (meter, onFile) =>
            openSource(source, { keeping, meter, onProgress: onFile, origin, signal }),
        },
        onProgress,
      ),
    );
  }

  /** Runs what may write files of this model, and tidies before and after it. */
  async #bringIn<T>(id: string, work: (keeping: Keeping | null) => Promise<T>): Promise<T> {
    const keeping = await this.#surroundings.openKeeping();
    if (keeping === null) {
      return work(null);
    }
    // Before this load counts as one that writes.
    await keeping.shelf.sweep().catch(() => undefined);
    // No other tab may delete what is being loaded.
    const done = await keeping.using(id, () => work(keeping));
    // A newer version may be here now, and the former one goes; nobody waits for that.
    void keeping.shelf.sweep().catch(() => undefined);
    return done;
  }

  async #loadWith(
    keeping: Keeping | null,
    { source, overrides, memoryBudgetBytes, isForced = false }: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<LoadReport> {
    const { gpu, deviceMemory, origin } = this.#surroundings;
    const reserved: string[] = [];
    try {
      const environment: LoadEnvironment = {
        gpu,
        deviceMemory,
        memoryBudgetBytes,
        isForced,
        prefixes: await this.#surroundings.openPrefixes(),
        functionHints: await this.#surroundings.openFunctionHints(),
        openBundle: (meter, onFile) =>
          openSource(source, { keeping, meter, onProgress: onFile, origin }),
        admit: (name, { gpuBytes, budgetBytes }) => {
          // Another engine may have had the place before, and given up.
          for (const before of reserved.splice(0)) {
            this.#rack.release(before);
          }
          const unloaded = this.#rack.reserve(name, gpuBytes, budgetBytes, isForced);
          reserved.push(name);
          return unloaded;
        },
      };
      const loaded = await onBestEngine(
        overrides,
        () => loadModel(overrides, environment, onProgress),
        async (reason, code) => {
          // Its code comes when it is needed, and only then.
          const { loadGguf } = await import("./llama/load-gguf.ts");
          return loadGguf({ reason, code }, overrides, environment, onProgress);
        },
      );
      this.#rack.fill(loaded.report.model, loaded);
      return loaded.report;
    } catch (error) {
      for (const name of reserved) {
        this.#rack.release(name);
      }
      throw error;
    }
  }
}
