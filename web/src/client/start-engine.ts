/** The workers of a page of ours: the engine's, which outlives its GPU, and the API's, once it leads. */
import { folder } from "virtual:pyodide-bundle";

import { toWireError } from "../errors.ts";
import type { ApiEngine } from "./api-engine.ts";
import type { ApiWorkerPort } from "./api-worker-host.ts";
import type { Catalogue } from "./catalogue.ts";
import { EngineClient } from "./engine-client.ts";
import type { House } from "./house.ts";
import { SteadyApiEngine } from "./steady-api-engine.ts";
import { SteadyEngine } from "./steady-engine.ts";

/** @returns where Python for the API worker is. */
export function bundleUrl(): string {
  return new URL(folder, document.baseURI).href;
}

/** The engine of this page. Parameters: see `SteadyEngine`. */
export function startEngine(
  onRevival: (isOver: boolean) => void,
  onBringing?: () => void,
): SteadyEngine<EngineClient> {
  const start = () => {
    const worker = new Worker(new URL("../worker/worker.ts", import.meta.url), { type: "module" });
    const client = new EngineClient(worker);
    const end = () => {
      worker.terminate();
      client.end();
    };
    return { client, end };
  };
  return new SteadyEngine(start, onRevival, onBringing);
}

export function startApiWorker(): ApiWorkerPort {
  return new Worker(new URL("../api/api-worker.ts", import.meta.url), { type: "module" });
}

/** What the API asks when this page leads; every page hears how loads go that it asks for. */
export function engineForApi(
  engine: SteadyEngine<EngineClient>,
  house: House,
  catalogue: Catalogue,
): ApiEngine {
  return new SteadyApiEngine(engine, catalogue, {
    onProgress: (name, progress) => {
      house.tell({ kind: "loading", name, progress });
    },
    onLoaded: (_, report) => {
      house.tell({ kind: "loaded", report });
    },
    onFailed: (name, error) => {
      house.tell({ kind: "load-failed", name, error: toWireError(error) });
    },
  });
}
