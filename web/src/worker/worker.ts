/**
 * The engine worker's message loop (see protocol.ts): what is asked, by whom it is answered.
 *
 * Everything runs in the background of the loop, so that an abort gets in between two tokens.
 */
import { toWireError } from "../errors.ts";
import type {
  ImportProgress,
  LoadProgress,
  Request,
  Requests,
  WorkerMessage,
} from "../protocol.ts";
import { FunctionHints } from "../store/function-hints.ts";
import { openKeeping } from "../store/keeping.ts";
import { PrefixCache } from "../store/prefix-cache.ts";
import { requireChat, requireEmbedding } from "./load.ts";
import { Models } from "./models.ts";
import { importInto, listStored, pin, remove } from "./storage.ts";

/** More often than this nobody can read progress. */
const PROGRESS_INTERVAL_MS = 100;

const scope = self as unknown as DedicatedWorkerGlobalScope;
/** Requests that may be stopped. */
const running = new Map<number, AbortController>();
const { gpu, deviceMemory = null } = navigator as { gpu?: GPU; deviceMemory?: number };
const models = new Models({
  gpu,
  deviceMemory,
  origin: scope.location.origin,
  openKeeping,
  openPrefixes: () => PrefixCache.open(navigator.storage),
  openFunctionHints: () => FunctionHints.open(navigator.storage),
});

function post(message: WorkerMessage): void {
  scope.postMessage(message);
}

async function load(id: number, payload: Requests["load"]["payload"]) {
  const send = throttled((progress: LoadProgress) => {
    post({ kind: "loading", id, progress });
  });
  return models.load(payload, (progress) => {
    send(progress, `${progress.phase} ${progress.fit === null}`);
  });
}

function generate(id: number, { model: name, ...request }: Requests["generate"]["payload"]) {
  return models.use(name, (model) =>
    stoppable(id, (signal) =>
      requireChat(model).chat(
        request,
        ({ tokenId, text }) => {
          post({ kind: "piece", id, tokenId, text });
        },
        signal,
      ),
    ),
  );
}

function embed({ model: name, ...request }: Requests["embed"]["payload"]) {
  return models.use(name, (model) => requireEmbedding(model).embed(request));
}

function importFiles(id: number, payload: Requests["import"]["payload"]) {
  const send = throttled((progress: ImportProgress) => {
    post({ kind: "importing", id, progress });
  });
  return stoppable(id, (signal) =>
    importInto(
      payload,
      (progress) => {
        send(progress, progress.file);
      },
      signal,
    ),
  );
}

async function stoppable<T>(id: number, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  running.set(id, controller);
  try {
    return await work(controller.signal);
  } finally {
    running.delete(id);
  }
}

async function answer(request: Request): Promise<Requests[Request["kind"]]["reply"]> {
  switch (request.kind) {
    case "load":
      return load(request.id, request.payload);
    case "generate":
      return generate(request.id, request.payload);
    case "abort":
      running.get(request.payload.requestId)?.abort();
      return null;
    case "embed":
      return embed(request.payload);
    case "unload":
      models.unload(request.payload.model);
      return null;
    case "fit":
      return models.fit(request.payload);
    case "stored":
      return listStored();
    case "pin":
      return pin(request.payload.id, request.payload.isPinned);
    case "remove":
      return remove(request.payload.id);
    case "import":
      return importFiles(request.id, request.payload);
  }
}

/** Lets a new step through at once, and figures a few times a second. */
function throttled<T>(send: (progress: T) => void): (progress: T, step: string) => void {
  let lastStep: string | null = null;
  let lastAt = -Infinity;
  return (progress, step) => {
    const now = performance.now();
    if (step !== lastStep || now - lastAt >= PROGRESS_INTERVAL_MS) {
      lastStep = step;
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
