/**
 * The engine worker's message loop (see protocol.ts): what is asked, by whom it is answered.
 *
 * Everything runs in the background of the loop, so that an abort gets in between two tokens.
 */
import type { CompleteEvent } from "../api-protocol.ts";
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
import { digestOfFile } from "../store/verify.ts";
import { gather } from "./gathering.ts";
import { requireChat, requireEmbedding } from "./load.ts";
import { openedModel } from "./model-facts.ts";
import { Models } from "./models.ts";
import { importInto, listStored, pin, remove } from "./storage.ts";
import { textOf } from "./token-text.ts";

/** More often than this nobody can read progress. */
const PROGRESS_INTERVAL_MS = 100;

const scope = self as unknown as DedicatedWorkerGlobalScope;
/** Requests that may be stopped. */
const running = new Map<number, AbortController>();
const { gpu, deviceMemory = null } = navigator as { gpu?: GPU; deviceMemory?: number };
/** One for all models: it has one bound, and one list of what was used when. */
let prefixes: Promise<PrefixCache | null> | null = null;
const openPrefixes = () => (prefixes ??= PrefixCache.open(navigator.storage));
const models = new Models({
  gpu,
  deviceMemory,
  origin: scope.location.origin,
  openKeeping,
  openPrefixes,
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

function download(id: number, payload: Requests["download"]["payload"]) {
  const send = throttled((progress: LoadProgress) => {
    post({ kind: "loading", id, progress });
  });
  return stoppable(id, (signal) =>
    models.download(
      payload,
      (progress) => {
        send(progress, `${progress.phase} ${progress.fit === null}`);
      },
      signal,
    ),
  );
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

function complete(id: number, completion: Requests["complete"]["payload"]) {
  const events = gather<CompleteEvent>((together) => {
    post({ kind: "completing", id, events: together });
  });
  return models.use(completion.request.model, (model) =>
    stoppable(id, async (signal) => {
      try {
        await requireChat(model).completeText(completion, events.push, signal);
      } finally {
        events.flush();
      }
      return null;
    }),
  );
}

function embed(id: number, { model: name, ...request }: Requests["embed"]["payload"]) {
  return models.use(name, (model) =>
    stoppable(id, (signal) => requireEmbedding(model).embed(request, signal)),
  );
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

function digest(id: number, { path, content }: Requests["digest"]["payload"]) {
  const send = throttled((progress: ImportProgress) => {
    post({ kind: "importing", id, progress });
  });
  return stoppable(id, (signal) =>
    digestOfFile(content, (doneBytes) => {
      signal.throwIfAborted();
      send({ file: path, doneBytes, totalBytes: content.size }, path);
    }),
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
    case "complete":
      return complete(request.id, request.payload);
    case "open":
      return models.use(request.payload.model, ({ facts, report }) =>
        Promise.resolve(openedModel(facts, report)),
      );
    case "tokenize": {
      const { model: name, text, special, around } = request.payload;
      return models.use(name, async ({ tokenizer }) => tokenizer.encodeAs(text, special, around));
    }
    case "detokenize": {
      const { model: name, tokens } = request.payload;
      return models.use(name, ({ tokenizer }) => Promise.resolve(textOf(tokenizer.table, tokens)));
    }
    case "abort":
      running.get(request.payload.requestId)?.abort();
      return null;
    case "embed":
      return embed(request.id, request.payload);
    case "unload":
      models.unload(request.payload.model);
      return null;
    case "fit":
      return models.fit(request.payload);
    case "download":
      return download(request.id, request.payload);
    case "stored":
      return listStored();
    case "pin":
      return pin(request.payload.id, request.payload.isPinned);
    case "remove":
      return remove(request.payload, await openPrefixes());
    case "forgetPrompts":
      await (await openPrefixes())?.clear();
      return null;
    case "import":
      return importFiles(request.id, request.payload);
    case "digest":
      return digest(request.id, request.payload);
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
