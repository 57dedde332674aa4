/**
 * The engine worker's message loop: one model, one answer at a time (see protocol.ts).
 *
 * Generation runs in the background of the loop, so that an abort gets in between two tokens.
 */
import { TransomError, toWireError } from "../errors.ts";
import type { LoadProgress, Request, Requests, WorkerMessage } from "../protocol.ts";
import { openBundle } from "../store/bundle.ts";
import { openKeeping } from "../store/keeping.ts";
import { locate } from "../store/location.ts";
import { type LoadedModel, loadModel, requireChat, requireEmbedding } from "./load.ts";

/** More often than this nobody can read progress. */
const PROGRESS_INTERVAL_MS = 100;

const scope = self as unknown as DedicatedWorkerGlobalScope;
const running = new Map<number, AbortController>();
let loaded: LoadedModel | null = null;

function post(message: WorkerMessage): void {
  scope.postMessage(message);
}

async function load(
  id: number,
  { source, overrides }: Requests["load"]["payload"],
): Promise<Requests["load"]["reply"]> {
  if (loaded !== null) {
    throw new TransomError("busy", "This worker has a model already; start another worker.");
  }
  const keeping = await openKeeping();
  const report = throttled((progress) => {
    post({ kind: "loading", id, progress });
  });
  loaded = await loadModel(
    overrides,
    {
      gpu: (navigator as { gpu?: GPU }).gpu,
      openBundle: (meter, onProgress) =>
        openBundle(locate(source), { keeping, meter, onProgress, origin: scope.location.origin }),
    },
    report,
  );
  return loaded.report;
}

async function generate(
  id: number,
  payload: Requests["generate"]["payload"],
): Promise<Requests["generate"]["reply"]> {
  const model = requireChat(requireLoaded());
  const controller = new AbortController();
  running.set(id, controller);
  try {
    return await model.chat(
      payload,
      ({ tokenId, text }) => {
        post({ kind: "piece", id, tokenId, text });
      },
      controller.signal,
    );
  } finally {
    running.delete(id);
  }
}

async function embed(payload: Requests["embed"]["payload"]): Promise<Requests["embed"]["reply"]> {
  return requireEmbedding(requireLoaded()).embed(payload);
}

function requireLoaded(): LoadedModel {
  if (loaded === null) {
    throw new TransomError("not-loaded", "No model is loaded yet.");
  }
  return loaded;
}

function abort({ requestId }: Requests["abort"]["payload"]): null {
  running.get(requestId)?.abort();
  return null;
}

async function answer(request: Request): Promise<Requests[Request["kind"]]["reply"]> {
  switch (request.kind) {
    case "load":
      return load(request.id, request.payload);
    case "generate":
      return generate(request.id, request.payload);
    case "abort":
      return abort(request.payload);
    case "embed":
      return embed(request.payload);
  }
}

/** Lets a new phase through at once, and bytes a few times a second. */
function throttled(send: (progress: LoadProgress) => void): (progress: LoadProgress) => void {
  let lastPhase: string | null = null;
  let lastAt = -Infinity;
  return (progress) => {
    const now = performance.now();
    if (progress.phase !== lastPhase || now - lastAt >= PROGRESS_INTERVAL_MS) {
      lastPhase = progress.phase;
      lastAt = now;
      send(progress);
    }
  };
}

scope.addEventListener("message", ({ data }: MessageEvent<Request>) => {
  const { id } = data;
  answer(data).then(
    (value) => {
      post({ kind: "reply", id, value });
    },
    (error: unknown) => {
      post({ kind: "error", id, error: toWireError(error) });
    },
  );
});
