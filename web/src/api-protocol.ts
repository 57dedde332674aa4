/**
 * Every message of the API in the page: who answers `/v1/*` and `/api/*`, and how. Types only.
 *
 *   service worker          page that leads              API worker (Pyodide)
 *    | -- who-leads ---------> |                               |   after a start, to every page
 *    | <-- leads (port A) ---- | -- serve (port A's end) ----> |   A joins the two; also when a page begins to lead
 *    | == port A: request, with a port R of its own =========> |   one for each HTTP request
 *    | == port R: pull, cancel ==============================> |
 *    | <=========================== port R: head, chunk, end = |   or refused, and the server is asked
 *    |                         | <==== engine calls, port E == |   models, open, complete, …
 *    |                         | ===== answers, events ======> |
 *
 * The page that leads owns the engine worker (`protocol.ts`) and the API worker; it holds the Web Lock
 * `leaderLock`, and for its life the lock `aliveLock(id)`, by which others hear that it has gone.
 * Other pages are clients of the API and nothing else.
 */
import type { WireError } from "./errors.ts";
import type { EngineKind, LoadProgress, LoadReport } from "./protocol.ts";

/**
 * Locks and the channel of one house: the pages, workers and service worker of one scope. A host may
 * have several houses side by side in folders; each has a leader of its own.
 *
 * @param scope the page's folder, absolute, as the service worker's registration has it.
 */
export function houseNames(scope: string) {
  return {
    /** Who holds it leads; it is asked for once by each page, and granted in that order. */
    leaderLock: `${LEADER_LOCK} ${scope}`,
    /** Whoever holds it keeps an API worker ready, to lead next. */
    standbyLock: `transom-standby ${scope}`,
    /** What they tell each other about: see `HouseNews`. */
    channel: `${HOUSE_CHANNEL} ${scope}`,
  } as const;
}

export const LEADER_LOCK = "transom-leader";
export const HOUSE_CHANNEL = "transom-house";

/** Held by a leader, or a service worker, for as long as it lives (`life.ts`); ids are random. */
export function aliveLock(id: string): string {
  return `transom-alive-${id}`;
}

// --- service worker <-> pages -------------------------------------------------------------------

/** service worker -> page. */
export type ToPage =
  | { kind: "who-leads" }
  | { kind: "update-ready" }
  /** To the page that has sent `leave`: all that was on its way has ended. */
  | { kind: "left" };

/** page -> service worker. `port` is transferred. */
export type ToServiceWorker =
  /** `apiWorker` counts the leader's API workers: a port to the same one is no news. */
  | { kind: "leads"; leader: string; apiWorker: number; port: MessagePort; place: Place }
  /** It leads, but its API worker does not start: the server has to answer. */
  | { kind: "unable"; leader: string; error: WireError; place: Place }
  /** The place of a leader has changed. */
  | { kind: "place"; leader: string; place: Place }
  | { kind: "claim" }
  /** To the one that answers: a newer build is called, and browsers wait for what this one does. */
  | { kind: "leave" }
  /** After that to one that waits: its build takes over, in all pages. */
  | { kind: "update" };

/**
 * Where requests go: what the visitor wants, and what this browser and host have. Kept by the
 * service worker as the leader told it last.
 */
export interface Place {
  /** "auto": the graphics adapter, else the server, else the processor. */
  wanted: "auto" | "browser" | "server";
  /** Whether this browser has an adapter that models can use. */
  hasWebGpu: boolean;
  /** Whether a Transom server is behind this page, as far as is known; static hosts have none. */
  hasServer: boolean;
}

/** Of each answer: where it comes from, and after "; " why, in words. */
export const SERVED_BY_HEADER = "Transom-Served-By";

/**
 * Of each answer: the same reason as codes, for those who say it in other languages: a `PlaceReason`, or
 * an `ErrorCode`, or "cannot" and the error that this browser had.
 */
export const REASON_HEADER = "Transom-Reason";

export type PlaceReason =
  | "chosen"
  | "on-device"
  | "no-server"
  | "no-adapter"
  | "processor"
  | "no-page"
  | "not-reached"
  | "closed"
  | "late"
  | "files"
  | "too-large"
  | "leaving"
  | "cannot";

/** Of a request: "browser" has it answered in this browser or not at all, whatever the visitor wants. */
export const WHERE_HEADER = "Transom-Where";

// --- service worker <-> API worker --------------------------------------------------------------

/** service worker -> API worker, on port A. `port` is transferred. */
export interface HttpRequest {
  kind: "request";
  /** The service worker, which `live`s under that name: when it goes, nobody waits for the answer. */
  from: string;
  method: string;
  /** Path and query, from the API's root: `/v1/models?limit=2`, wherever the page stands. */
  target: string;
  headers: readonly (readonly [name: string, value: string])[];
  body: ArrayBuffer | null;
  /** R: everything about this request alone. */
  port: MessagePort;
}

/** service worker -> API worker, on port R. `pull` asks for one more chunk. */
export type HttpControl = { kind: "pull" } | { kind: "cancel" };

/** API worker -> service worker, on port R. */
export type HttpAnswer =
  | {
      kind: "head";
      status: number;
      headers: readonly (readonly [name: string, value: string])[];
    }
  /** All frames that were ready when it was pulled, in one. */
  | { kind: "chunk"; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end" }
  /** The status is said, and the answer cannot come to an end: the client's connection breaks. */
  | { kind: "broken" }
  /**
   * Nothing was said: this browser cannot do it, and a server may. Sent instead of `head`; what
   * follows is the whole answer for whoever has no server.
   */
  | {
      kind: "refused";
      error: WireError;
      status: number;
      headers: readonly (readonly [name: string, value: string])[];
      body: string;
    };

// --- page -> API worker -------------------------------------------------------------------------

/** The page's first message to the API worker; ports are transferred. */
export interface StartApi {
  kind: "start";
  /** Absolute address of the folder with Pyodide and our wheels, with a slash at its end. */
  bundleUrl: string;
  /** E. */
  engine: MessagePort;
}

/** Later ones: another service worker (or the same after a rest) joins. */
export interface ServeApi {
  kind: "serve";
  /** A. */
  port: MessagePort;
}

/** While it is at work: a worker in which something has no end does not answer. */
export interface PingApi {
  kind: "ping";
}

/** API worker -> page: how its start goes, and what it is at. */
export type ApiNews =
  | { kind: "started"; seconds: number }
  | { kind: "failed"; error: WireError }
  /** Whether requests are being answered. */
  | { kind: "at-work"; isAtWork: boolean }
  /** Whose chat template runs now; "": none. */
  | { kind: "rendering"; model: string }
  | { kind: "pong" };

// --- API worker -> page: engine calls, on port E --------------------------------------------------

/** A model that can be asked for by name: stored here, or offered by the host. */
export interface ModelRow {
  /** As the store shows it: `library/smollm2:latest`. */
  name: string;
  /** Seconds since 1970: when it came. */
  created: number;
  bytes: number;
  /** `sha256:…` of its index; "" where that is not known yet. */
  digest: string;
  /** Ollama's details where known: format, family, parameter_size, quantization_level, context_length, embedding_length. */
  details: Readonly<Record<string, string | number | readonly string[] | null>>;
  capabilities: readonly string[];
  /** GPU memory that it takes now; null: not loaded. */
  loadedBytes: number | null;
  /** Its files are in this browser. */
  isStored: boolean;
}

/** What only a loaded model can tell; the words of `transom_api.engine.ModelFacts` and `prompting.ModelDefaults`. */
export interface OpenedModel {
  /** The name that further calls use. */
  name: string;
  /** 0 when it was there. */
  loadSeconds: number;
  engine: EngineKind;
  contextTokens: number;
  vocabulary: number | null;
  bos: string;
  eos: string;
  /** Whether the tokenizer puts `bos` before any text by itself. */
  addsBos: boolean;
  parallel: number;
  task: "generate" | "embed";
  /** The chat template in Jinja; null: the model continues texts. */
  template: string | null;
  system: string | null;
  messages: readonly (readonly [role: string, content: string])[];
  /** As in a Modelfile: name -> value; `stop` is a list. */
  parameters: Readonly<Record<string, unknown>>;
  license: string | null;
}

/** `transom_api.engine.Sampling`, whose defaults have been filled in. */
export interface CompleteSampling {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  typicalP: number;
  repeatLastN: number;
  repeatPenalty: number;
  presencePenalty: number;
  frequencyPenalty: number;
  /** -1: another one each time. Choice number c of a request with a seed takes seed + c. */
  seed: number;
}

/** `transom_api.engine.GenerateRequest`. */
export interface CompleteRequest {
  model: string;
  /** Special tokens in it are read as such; those that the tokenizer puts around any text are added. */
  prompt: string;
  sampling: CompleteSampling;
  /** -1: no limit but the context window. */
  maxTokens: number;
  /** Texts at which the answer ends; they are no part of it. */
  stop: readonly string[];
  jsonSchema: unknown;
  /** llama.cpp's GBNF; not beside `jsonSchema`. */
  grammar: string | null;
  stopTokenIds: readonly number[];
  ignoreEos: boolean;
  /** Token id and what is added to its logit; -Infinity forbids it. */
  logitBias: readonly (readonly [tokenId: number, bias: number])[];
  /** How many answers side by side. */
  choices: number;
  /** Each token's log-probability and so many of the likeliest; null: none. */
  logprobs: number | null;
  /** Special tokens whose text belongs to the answer, as those that mark calls. */
  preserved: readonly string[];
}

export interface TokenText {
  id: number;
  /** What it stands for; with U+FFFD where its bytes are no whole characters. */
  text: string;
  bytes: readonly number[];
  /** Natural logarithm of its probability before any sampling. */
  logprob: number;
}

/** `TokenEvent` and `Done` of `transom_api.engine`. */
export type CompleteEvent =
  | {
      kind: "token";
      choice: number;
      tokenIds: readonly number[];
      /** Whole characters; may be empty. */
      text: string;
      logprobs: readonly { chosen: TokenText; top: readonly TokenText[] }[];
      promptTokens: number;
    }
  | {
      kind: "done";
      choice: number;
      finishReason: "stop" | "length";
      promptTokens: number;
      cachedTokens: number;
      completionTokens: number;
      promptSeconds: number;
      completionSeconds: number;
      /** The stop text that ended it, where one did. */
      stop: string | null;
    };

/** What the API worker may ask of the page, and what it gets. Errors are `WireError`s. */
export interface EngineCalls {
  models: { payload: null; reply: readonly ModelRow[] };
  /** Loads it where needed. `model-not-found` where nobody has it. */
  open: { payload: { name: string }; reply: OpenedModel };
  /** Events come before the reply, several together. The reply comes after the last `done`, or after `abort`. */
  complete: { payload: CompleteRequest; reply: null };
  abort: { payload: { callId: number }; reply: null };
  /** Vectors of length 1 of texts or token ids. `pooled` is the model's own way. */
  embed: {
    payload: { model: string; inputs: readonly (string | readonly number[])[] };
    reply: { vectors: readonly Float32Array[]; tokens: number };
  };
  /** `special`: names of special tokens are read as such; `around`: with those put around any text. */
  tokenize: {
    payload: { model: string; text: string; special: boolean; around: boolean };
    reply: readonly number[];
  };
  detokenize: { payload: { model: string; tokens: readonly number[] }; reply: string };
  unload: { payload: { model: string }; reply: null };
}

export type EngineCallKind = keyof EngineCalls;

export type EngineCall = {
  [K in EngineCallKind]: { kind: K; id: number; payload: EngineCalls[K]["payload"] };
}[EngineCallKind];

/** page -> API worker, on port E. */
export type EngineAnswer =
  | { kind: "events"; id: number; events: readonly CompleteEvent[] }
  | { kind: "reply"; id: number; value: EngineCalls[EngineCallKind]["reply"] }
  | { kind: "error"; id: number; error: WireError };

// --- between pages, on HOUSE_CHANNEL ---------------------------------------------------------------

/** From the leader, for every page to show. */
export type HouseNews =
  | { kind: "loading"; name: string; progress: LoadProgress }
  | { kind: "loaded"; report: LoadReport }
  | { kind: "load-failed"; name: string; error: WireError }
  | { kind: "leads"; leader: string }
  /** A page that has just come asks to hear where things stand. */
  | { kind: "hello" };
