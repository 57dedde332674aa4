/**
 * Every message between the page and the engine worker. Types only.
 *
 *   page                                   worker
 *    | -- load ------------------------------> |  the model named by its source; more may follow
 *    | <------------------- loading (many) --- |  phase, bytes, rate, time left, will it fit
 *    | <------------------------- reply ------ |  LoadReport
 *    | -- generate --------------------------> |  messages; what only tools and tests still ask
 *    | <--------------------- piece (many) --- |  text as it becomes complete UTF-8
 *    | -- abort(requestId) ------------------> |  answered at once; generation ends by itself
 *    | <------------------------- reply ------ |  Done of the generation, finish reason "abort"
 *    | -- complete --------------------------> |  many at once; some engines let them wait in line
 *    | <---------------- completing (many) --- |  all events that came together
 *    | <------------------------- reply ------ |  after the last event, or after abort
 *    | -- open, tokenize, detokenize --------> |  of a loaded model
 *    | -- embed -----------------------------> |  instead of generate, to an embedding model
 *    | <------------------------- reply ------ |  Embeddings
 *    | -- unload(model) ---------------------> |  its GPU memory is free when the reply is there
 *    | -- fit -------------------------------> |  will it fit: from small files only
 *    | -- download --------------------------> |  into storage, without the GPU; as load, and abort pauses it
 *    | -- stored, pin, remove ---------------> |  models that this browser keeps
 *    | -- forgetPrompts ---------------------> |  beginnings of prompts that this browser keeps
 *    | -- import ----------------------------> |  a file or folder of this device into storage
 *    | <----------------- importing (many) --- |  bytes; ended by abort(requestId), too
 *    | -- digest ----------------------------> |  sha256 of a file of this device; progress as import
 *
 * Every request gets exactly one `reply` or `error` with its id. Progress messages carry the id of
 * the request they belong to and never come after its reply.
 */
import type { CompleteEvent, CompleteRequest, EngineCalls, OpenedModel } from "./api-protocol.ts";
import type { ErrorCode, ErrorFacts, WireError } from "./errors.ts";

/** Where a bundle is: on a network, or in this browser's storage. */
export type BundleSource = NetworkSource | ImportedSource;

/** An OCI registry (our server's `/v2/`), or a plain folder of files. */
export type NetworkSource = {
  /** Other base addresses that have the same files, asked where the first one fails. */
  mirrors?: readonly string[];
} & (
  | { kind: "registry"; baseUrl: string; repository: string; reference: string }
  | { kind: "folder"; baseUrl: string }
  /** A static host with an OCI image layout, as `transom export` writes; `reference` names a row. */
  | { kind: "layout"; baseUrl: string; reference: string }
);

/** What a file picker brought into storage. `id`: the digest of the model's index, `sha256:…`. */
export interface ImportedSource {
  kind: "imported";
  id: string;
}

export type Variant = "f16" | "f32";
export type Schedule = "gpu" | "fallback";

/** What runs a model: our program, or a library for TVM's runtime (imported models have no other). */
export type Product = "program" | "library";

/** What does the arithmetic: the graphics adapter, or the processor (llama.cpp in wasm, slower). */
export type EngineKind = "webgpu" | "cpu";

/** When GPU pipelines are built: all before the first token, or each at its first use. */
export type PipelineLoading = "ahead" | "lazy";

export interface LoadRequest {
  source: BundleSource;
  /** Choices that the page's address may force; without them the adapter decides. */
  overrides: {
    engine?: EngineKind;
    /** On the processor, where there may be several. */
    threads?: number;
    variant?: Variant;
    schedule?: Schedule;
    product?: Product;
    pipelines?: PipelineLoading;
  };
  /** GPU memory that all models of this engine may take; estimated from the machine if left out. */
  memoryBudgetBytes?: number;
  /** Load also what does not fit the budget: the visitor knows better than an estimate. */
  isForced?: boolean;
}

/** Whether a model will fit, told before the first byte of its weights. */
export interface Fit {
  variant: string;
  /** Still to come. */
  downloadBytes: number;
  /** Here already, whole or in pieces. */
  storedBytes: number;
  /** What the browser still gives to keep models in; null: it keeps none. */
  storageFreeBytes: number | null;
  /** Weights, KV cache and scratch, as far as small files tell. */
  gpuBytes: number;
  budgetBytes: number;
  /** Where the budget comes from, in words. */
  budgetReason: string;
  /** What speaks against loading it; none where all is well. */
  problems: readonly FitProblem[];
}

export interface FitProblem {
  code: "adapter-too-small" | "out-of-memory" | "no-room";
  /** One sentence. */
  message: string;
  facts: ErrorFacts;
  /** "always": it cannot run; "unless-forced": by estimate; "never": it runs, but is not kept. */
  refusal: "always" | "unless-forced" | "never";
}

/** The GPU in words, as the browser names it; empty strings where it does not say. */
export interface AdapterReport {
  vendor: string;
  architecture: string;
  description: string;
  /** True when the "GPU" is a program on the CPU (SwiftShader, llvmpipe, WARP). */
  isFallback: boolean;
  hasShaderF16: boolean;
  /** Memory that the threads of a workgroup share; WebGPU promises 16 KiB. */
  workgroupBytes: number;
}

/** How a model runs without a graphics adapter. */
export interface ProcessorReport {
  /** One where the page is not isolated from other origins (COOP, COEP). */
  threads: number;
  /** Why not on the graphics adapter, in a few words; null where the address wants it so. */
  reason: string | null;
  /** What was in the way of that; null as `reason`. */
  code: ErrorCode | null;
}

/** What a model is for: to talk, or to turn texts into vectors. */
export type Task = "chat" | "embedding";

export interface LoadReport {
  model: string;
  task: Task;
  engine: EngineKind;
  /** Null on the processor, as what follows. */
  adapter: AdapterReport | null;
  computeDtype: string | null;
  schedule: Schedule | null;
  pipelines: PipelineLoading | null;
  /** Null on WebGPU. */
  processor: ProcessorReport | null;
  contextWindowSize: number;
  loadSeconds: number;
  bytesDownloaded: number;
  bytesFromCache: number;
  /** Seconds spent in each phase, by phase name, in order. */
  phaseSeconds: Partial<Record<LoadPhase, number>>;
  licenses: string | null;
  /** Whether the next visit finds the model here. */
  isKept: boolean;
  /** Its host did not answer: this is the model of the last visit, and there may be a newer one. */
  isOffline: boolean;
  /** Models that had to leave storage for it. */
  removed: readonly string[];
  /** GPU memory that it takes, by the estimate that its place was made by. */
  gpuBytes: number;
  /** Models that had to leave GPU memory for it. */
  unloaded: readonly string[];
}

export type LoadPhase = "adapter" | "manifest" | "library" | "weights" | "pipelines" | "ready";

export interface LoadProgress {
  phase: LoadPhase;
  /** The file being read, null between files. */
  file: string | null;
  doneBytes: number;
  /** 0 until the manifest has been read. */
  totalBytes: number;
  bytesFromCache: number;
  bytesDownloaded: number;
  /** Over the last few seconds, network only; 0 when nothing came from the network. */
  bytesPerSecond: number;
  /** Null while there is no rate to tell it from. */
  secondsLeft: number | null;
  /** Part of the pipelines that are built, 0 to 1; 1 when they are built lazily. */
  pipelineFraction: number;
  /** Null until the small files have been read. */
  fit: Fit | null;
}

/** A model's files have come into storage. */
export interface DownloadReport {
  model: string;
  totalBytes: number;
  bytesDownloaded: number;
  /** Of them, those that were here before. */
  bytesFromCache: number;
  /** Models that had to leave storage for it. */
  removed: readonly string[];
}

/** A model that this browser keeps. */
export interface StoredModel {
  /** What `pin` and `remove` want to know. */
  id: string;
  name: string;
  /** The digest of its index, as it was last read; null: not known. */
  index: string | null;
  totalBytes: number;
  /** Of them, those that are here; fewer while a download is not complete. */
  storedBytes: number;
  /** Of those, what other models need too. */
  sharedBytes: number;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Stays when room is made for others. */
  isPinned: boolean;
  /** Being loaded now, in this tab or another one: it cannot be removed. */
  isInUse: boolean;
}

export interface Storage {
  /** The one used last first. */
  models: readonly StoredModel[];
  /** What this browser gives this site, and what of it is taken; null where it does not say. */
  quotaBytes: number | null;
  usedBytes: number | null;
  /** False: the browser may let go of all of it when its disk is full. */
  isPersisted: boolean;
}

export interface ImportRequest {
  /**
   * A .gguf file, a .tar of an OCI image layout, or all files of a folder that holds a bundle or a
   * layout.
   */
  files: readonly PickedFile[];
}

export interface PickedFile {
  /** With the picked folder's name in front; a message does not keep a File's own. */
  path: string;
  content: Blob;
}

export interface ImportProgress {
  /** The file being checked or copied. */
  file: string;
  doneBytes: number;
  totalBytes: number;
}

/** One model that an import brought. */
export interface Imported {
  source: ImportedSource;
  name: string;
  /** "gguf": for the CPU engine; "bundle": for the GPU. */
  kind: "bundle" | "gguf";
  bytes: number;
}

export interface Message {
  role: "system" | "user" | "assistant";
  content: string;
}

/** How the next token is chosen. Temperature 0 takes the most likely one. What is left out is off. */
export interface Sampling {
  temperature: number;
  topP: number;
  seed: number;
  topK?: number;
  minP?: number;
  typicalP?: number;
  repeatPenalty?: number;
  presencePenalty?: number;
  frequencyPenalty?: number;
  /** How many of the last tokens the three penalties see; 64 if left out, -1: all. */
  repeatLastN?: number;
  /** Token id -> what is added to its logit; -Infinity forbids it. */
  logitBias?: Readonly<Record<number, number>>;
}

export interface ChatRequest {
  messages: readonly Message[];
  /** What is left out comes from the model's own defaults; `maxTokens` from the room left. */
  options: Partial<Sampling> & { maxTokens?: number };
  /** Tokens of an answer that broke off: it goes on behind them, as if nothing had happened. */
  answeredTokenIds?: readonly number[];
  /** What the answer must look like; free text if left out. */
  format?: OutputFormat;
  /** When the context window is full; "error" if left out. */
  overflow?: Overflow;
  /** "off" if left out. */
  drafts?: Drafts;
}

/** A shape that an answer is held to, token by token. */
export type OutputFormat =
  | { kind: "json" }
  | { kind: "json-schema"; schema: unknown }
  | { kind: "grammar"; grammar: string }
  | { kind: "regex"; pattern: string }
  | { kind: "choice"; choices: readonly string[] }
  | { kind: "structural-tag"; tag: unknown };

/**
 * A conversation that does not fit: refuse it ("error"); leave out the oldest of a prompt that is
 * too long ("truncate"); go on for ever, forgetting the oldest half each time ("shift").
 */
export type Overflow = "error" | "truncate" | "shift";

/** Holds an answer to a format: which tokens may come next, and which came. */
export interface Constraint {
  /** Bit i of word i >> 5: token i may come next. Null: any. Valid until the next call. */
  nextMask(): Int32Array | null;
  /** @returns false when the answer is complete: only a stop token may follow. */
  accept(tokenId: number): boolean;
  dispose(): void;
}

/** What an engine is asked: tokens in, tokens out (DESIGN 4.6). */
export interface GenerateRequest {
  promptTokenIds: readonly number[];
  sampling: Sampling;
  stopTokenIds: readonly number[];
  maxTokens: number;
  /** Behind the prompt, tokens that were chosen before; they count as the answer's. */
  answeredTokenIds?: readonly number[];
  /** Ask for the logits of the first position, for comparison with an oracle. */
  wantFirstLogits?: boolean;
  constraint?: Constraint;
  overflow?: Overflow;
  /** How many of the first tokens `overflow` never leaves out; none if left out. */
  keepTokens?: number;
  topLogprobs?: number;
  /** "off" if left out. */
  drafts?: Drafts;
}

/**
 * Whether tokens are guessed from what was said before and judged several at once, which changes
 * no token: never, while it is measured to be faster, or wherever there is a guess.
 */
export type Drafts = "off" | "auto" | "on";

/** Natural logarithms of a token's probability and of the likeliest ones', before any sampling. */
export interface TokenLogprobs {
  logprob: number;
  top: readonly { tokenId: number; logprob: number }[];
}

export interface TokenEvent {
  tokenId: number;
  /** Only where asked for. */
  logprobs?: TokenLogprobs;
  /** The logits it was chosen from, one per vocabulary entry; only where asked for. */
  logits?: Float32Array;
}

export type FinishReason = "stop" | "length" | "abort";

export interface Done {
  finishReason: FinishReason;
  /** The stop token that ended the answer; it is not part of the answer. */
  stopTokenId: number | null;
  /** The stop token's, where they were asked for. */
  stopLogprobs?: TokenLogprobs;
  promptTokens: number;
  /** Prompt tokens that were still in the KV cache and cost nothing. */
  cachedTokens: number;
  completionTokens: number;
  /** Tokens that had to leave the context window, by the request's `overflow`. */
  truncatedTokens?: number;
  timings: {
    /** From the call to the first token, the prefill included. */
    timeToFirstTokenSeconds: number;
    prefillSeconds: number;
    /** From the first token to the last; 0 when there was only one. */
    decodeSeconds: number;
  };
}

/** What the API asks for, once more where the worker died on the way. */
export interface Completion {
  request: CompleteRequest;
  /** By choice: what had been answered; the answer goes on behind it, as if nothing had happened. */
  answered?: readonly { tokenIds: readonly number[]; isOver: boolean }[];
}

export interface EmbedRequest {
  /** Texts, or their token ids. */
  texts: readonly (string | readonly number[])[];
  /** Scale each vector to length 1, so that a dot product is a cosine; true if left out. */
  normalize?: boolean;
}

export interface Embeddings {
  /** One vector a text, in order. */
  vectors: Float32Array[];
  /** Tokens of each text, special ones included. */
  tokenCounts: number[];
}

/** page -> worker: what each request carries and what it answers. */
export interface Requests {
  load: { payload: LoadRequest; reply: LoadReport };
  generate: { payload: ChatRequest & Addressed; reply: Done };
  complete: { payload: Completion; reply: null };
  /** Of a model that is loaded; `loadSeconds` is 0. */
  open: { payload: { model: string }; reply: OpenedModel };
  tokenize: EngineCalls["tokenize"];
  detokenize: EngineCalls["detokenize"];
  abort: { payload: { requestId: number }; reply: null };
  embed: { payload: EmbedRequest & Addressed; reply: Embeddings };
  unload: { payload: { model: string }; reply: null };
  fit: { payload: LoadRequest; reply: Fit };
  download: { payload: LoadRequest; reply: DownloadReport };
  stored: { payload: null; reply: Storage };
  pin: { payload: { id: string; isPinned: boolean }; reply: null };
  /** `keepsFormer`: only what came of a version that was to replace the one that is here. */
  remove: {
    payload: { id: string; keepsFormer: boolean };
    reply: { freedBytes: number };
  };
  /** What was said is in what is kept of prompts, too. */
  forgetPrompts: { payload: null; reply: null };
  import: { payload: ImportRequest; reply: readonly Imported[] };
  /** `sha256:…` */
  digest: { payload: PickedFile; reply: string };
}

/** Which loaded model is meant, by the name in its `LoadReport`; the one loaded last if left out. */
export interface Addressed {
  model?: string;
}

export type RequestKind = keyof Requests;

export type Request = {
  [K in RequestKind]: { kind: K; id: number; payload: Requests[K]["payload"] };
}[RequestKind];

/** worker -> page: any number of these before the reply with the same id. */
export type Progress =
  | { kind: "loading"; id: number; progress: LoadProgress }
  | { kind: "importing"; id: number; progress: ImportProgress }
  | { kind: "piece"; id: number; tokenId: number | null; text: string }
  | { kind: "completing"; id: number; events: readonly CompleteEvent[] };

/** worker -> page: the end of a request. */
export type Answer =
  | { kind: "reply"; id: number; value: Requests[RequestKind]["reply"] }
  | { kind: "error"; id: number; error: WireError };

export type WorkerMessage = Progress | Answer;
