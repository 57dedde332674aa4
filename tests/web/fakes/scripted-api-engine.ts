/**
 * An engine of the API that says what a script tells it to: the same tokens here and in Python
 * (`tests/fakes/scripted_engine.py`), from the same scripts. No model at all.
 *
 * A prompt names its script as `@name`; the last one that is known counts. A token of the prompt is a
 * byte. What a script may be, tests/contract/api/README.md says.
 */
import type {
  CompleteEvent,
  CompleteRequest,
  ModelRow,
  OpenedModel,
  TokenText,
} from "../../../web/src/api-protocol.ts";
import type { ApiEngine } from "../../../web/src/client/api-engine.ts";
import { type ErrorCode, TransomError } from "../../../web/src/errors.ts";

/** A text is cut; tokens are texts or bytes. */
type Tokens = string | readonly (string | readonly number[])[];

interface Script {
  tokens?: Tokens;
  /** One for each choice. */
  answers?: readonly Tokens[];
  finish?: "stop" | "length";
  cached?: number;
  tells?: "prompt" | "request";
  fails?: { code: string; message: string };
  after?: number;
  waits?: boolean;
  again?: boolean;
  stops?: boolean;
}

interface ScriptedModel {
  template?: string | null;
  system?: string;
  messages?: [string, string][];
  parameters?: Record<string, unknown>;
  context?: number;
  bos?: string;
  task?: "generate" | "embed";
  broken?: boolean;
  /** Words; texts with one of the same row are alike, and have nothing of the others. */
  subjects?: readonly (readonly string[])[];
  /** Of its vectors. */
  width?: number;
}

/** What tests/contract/api gives a page. */
export interface Contract {
  catalogue: readonly Omit<ModelRow, "loadedBytes">[];
  models: Readonly<Record<string, ScriptedModel>>;
  scripts: Readonly<Record<string, Script | Tokens>>;
}

const NAMED = /@([a-z0-9-]+(?:\/[0-9]+)?)/g;
/** Texts are cut after so many characters, again and again: never where words end. */
const CUTS = [3, 1, 4, 1, 5, 9, 2, 6];
const FIRST_TOKEN = 300;
const FIRST_OTHER = 400;
const VOCABULARY = 512;
const BOS = 256;
const WIDTH = 16;
const CONTEXT = 4096;
/** Between two tokens of a script that says them again and again. */
const AGAIN_MILLISECONDS = 10;
/** Now and then others have their turn. */
const EVENTS_AT_ONCE = 32;
const CODES: Readonly<Record<string, ErrorCode>> = {
  "context-overflow": "context-overflow",
  // The page has no word of its own for it; what an answer is held to says which it is.
  "invalid-schema": "invalid-request",
  "engine-failed": "engine-crashed",
};

const encoder = new TextEncoder();

export class ScriptedApiEngine implements ApiEngine {
  /** Answers that nobody waited for. */
  aborted = 0;
  readonly #contract: Contract;
  readonly #loaded = new Set<string>();

  constructor(contract: Contract) {
    this.#contract = contract;
  }

  models(): Promise<readonly ModelRow[]> {
    const rows = this.#contract.catalogue.map((row) => ({
      ...row,
      loadedBytes: this.#loaded.has(row.name) ? 1000 : null,
    }));
    return Promise.resolve(rows);
  }

  open(name: string): Promise<OpenedModel> {
    const model = this.#contract.models[name];
    if (model === undefined) {
      return Promise.reject(new TransomError("model-not-found", `nobody has ${name}`));
    }
    if (model.broken === true) {
      return Promise.reject(new TransomError("invalid-bundle", "its file ends too early"));
    }
    this.#loaded.add(name);
    return Promise.resolve({
      name,
      loadSeconds: 0,
      engine: "webgpu",
      contextTokens: model.context ?? CONTEXT,
      vocabulary: VOCABULARY,
      bos: model.bos ?? "",
      eos: "",
      addsBos: model.bos !== undefined,
      parallel: 4,
      task: model.task ?? "generate",
      template: model.template ?? null,
      system: model.system ?? null,
      messages: model.messages ?? [],
      parameters: model.parameters ?? {},
      license: null,
    });
  }

  async complete(
    request: CompleteRequest,
    onEvents: (events: readonly CompleteEvent[]) => void,
    signal?: AbortSignal,
  ): Promise<void> {
    const context = this.#model(request.model).context ?? CONTEXT;
    const promptTokens = this.#tokens(request.model, request.prompt, true).length;
    if (promptTokens >= context) {
      throw new TransomError(
        "context-overflow",
        `the prompt has ${promptTokens} tokens, the context window ${context}`,
      );
    }
    const script = this.#script(request);
    let waiting: CompleteEvent[] = [];
    const flush = () => {
      onEvents(waiting);
      waiting = [];
    };
    try {
      for (const event of events(request, script, promptTokens, context)) {
        waiting.push(event);
        if (script.again === true || waiting.length === EVENTS_AT_ONCE) {
          flush();
          await breath(script.again === true ? AGAIN_MILLISECONDS : 0);
        }
        if (signal?.aborted === true) {
          break;
        }
      }
    } finally {
      flush();
    }
    while (script.waits === true && signal?.aborted !== true) {
      await breath();
    }
    if (signal?.aborted === true) {
      this.aborted++;
      signal.throwIfAborted();
    }
  }

  embed({ model, inputs }: Parameters<ApiEngine["embed"]>[0]): ReturnType<ApiEngine["embed"]> {
    const row = this.#model(model);
    const context = row.context ?? CONTEXT;
    const rows = inputs.map((input) =>
      typeof input === "string" ? this.#tokens(model, input, true) : input,
    );
    for (const [index, { length }] of rows.entries()) {
      if (length > context) {
        const text = `input ${index} has ${length} tokens, the context window ${context}`;
        return Promise.reject(new TransomError("context-overflow", text));
      }
    }
    const tokens = rows.reduce((sum, { length }) => sum + length, 0);
    return Promise.resolve({ vectors: rows.map((tokens) => vector(tokens, row)), tokens });
  }

  tokenize({ model, text, around }: Parameters<ApiEngine["tokenize"]>[0]) {
    return Promise.resolve(this.#tokens(model, text, around));
  }

  detokenize({ tokens }: Parameters<ApiEngine["detokenize"]>[0]): Promise<string> {
    const bytes = tokens.filter((token) => token < BOS);
    return Promise.resolve(decoder().decode(new Uint8Array(bytes)));
  }

  unload(name: string): Promise<void> {
    this.#loaded.delete(name);
    return Promise.resolve();
  }

  #model(name: string): ScriptedModel {
    const model = this.#contract.models[name];
    if (model === undefined) {
      throw new TransomError("not-loaded", `${name} is not loaded`);
    }
    return model;
  }

  /** Bytes, and BOS around them where the model has one. */
  #tokens(model: string, text: string, around: boolean): readonly number[] {
    const opening = around && this.#model(model).bos !== undefined ? [BOS] : [];
    return [...opening, ...encoder.encode(text)];
  }

  #script(request: CompleteRequest): Script {
    const { scripts } = this.#contract;
    const names = [...request.prompt.matchAll(NAMED)].flatMap(([, name]) =>
      name !== undefined && Object.hasOwn(scripts, name) ? [name] : [],
    );
    const name = names.at(-1);
    const said = (name === undefined ? undefined : scripts[name]) ?? "ok";
    const script = isTokens(said) ? { tokens: said } : said;
    // What is told of a request holds its stop texts.
    if (script.tells === "prompt") {
      return { tokens: request.prompt, stops: false };
    }
    return script.tells === "request" ? { tokens: told(request), stops: false } : script;
  }
}

function isTokens(said: Script | Tokens): said is Tokens {
  return typeof said === "string" || Array.isArray(said);
}

/** Of all choices side by side, a token each. */
function* events(
  request: CompleteRequest,
  script: Script,
  promptTokens: number,
  context: number,
): Generator<CompleteEvent, void> {
  let open = Array.from({ length: request.choices }, (_, choice) =>
    answer(request, script, choice, promptTokens, context),
  );
  while (open.length > 0) {
    const still = [];
    for (const one of open) {
      const { done, value } = one.next();
      if (done !== true) {
        yield value;
        still.push(one);
      }
    }
    open = still;
  }
}

function* answer(
  request: CompleteRequest,
  script: Script,
  choice: number,
  promptTokens: number,
  context: number,
): Generator<CompleteEvent, void> {
  const { answers, fails, after = 0 } = script;
  const given = answers === undefined ? script.tokens : answers[choice % answers.length];
  const pieces = cut(given ?? "");
  const room = context - promptTokens;
  const most = request.maxTokens < 0 ? room : Math.min(request.maxTokens, room);
  const text = new HeldText(script.stops === false ? [] : request.stop);
  let finish = script.finish ?? "stop";
  let count = 0;
  let stop: string | null = null;
  const fail = () => {
    if (fails !== undefined) {
      throw new TransomError(CODES[fails.code] ?? "internal", fails.message);
    }
  };
  const event = (said: string, tokenIds: number[], logprobs: TokenLogprobs): CompleteEvent => ({
    kind: "token",
    choice,
    tokenIds,
    text: said,
    logprobs,
    promptTokens,
  });
  while (request.ignoreEos || script.again === true || count < pieces.length) {
    const piece = pieces[count % pieces.length] ?? new Uint8Array();
    if (count === after) {
      fail();
    }
    if (count === most) {
      finish = "length";
      break;
    }
    const token = FIRST_TOKEN + count++;
    if (request.stopTokenIds.includes(token)) {
      break;
    }
    const taken = text.take(piece);
    stop = taken.stop;
    const rows = request.logprobs === null ? [] : [logprobs(piece, token, request.logprobs)];
    yield event(taken.said, [token], rows);
    if (stop !== null) {
      finish = "stop";
      break;
    }
  }
  if (count <= after) {
    fail();
  }
  const rest = stop === null ? text.rest() : "";
  if (rest !== "") {
    yield event(rest, [], []);
  }
  yield {
    kind: "done",
    choice,
    finishReason: finish,
    promptTokens,
    cachedTokens: script.cached ?? 0,
    completionTokens: count,
    promptSeconds: 0.5,
    completionSeconds: 0.25,
    stop,
  };
}

/** Whole characters of an answer, held back while they may become a text that ends it. */
class HeldText {
  readonly #stops: readonly string[];
  readonly #decoder = decoder();
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** What is certain, and the text that ended the answer. */
  take(piece: Uint8Array): { said: string; stop: string | null } {
    this.#held += this.#decoder.decode(piece, { stream: true });
    let found = { at: Infinity, stop: null as string | null };
    let keep = 0;
    for (const stop of this.#stops) {
      const at = this.#held.indexOf(stop);
      if (at >= 0 && at < found.at) {
        found = { at, stop };
      }
      keep = Math.max(keep, overlap(this.#held, stop));
    }
    if (found.stop !== null) {
      return { said: this.#held.slice(0, found.at), stop: found.stop };
    }
    const said = this.#held.slice(0, this.#held.length - keep);
    this.#held = this.#held.slice(said.length);
    return { said, stop: null };
  }

  /** What was held back, and what is left of a character that was never whole. */
  rest(): string {
    return this.#held + this.#decoder.decode();
  }
}

/** How much of a stop text's beginning this text ends with. */
function overlap(text: string, stop: string): number {
  for (let size = Math.min(text.length, stop.length - 1); size > 0; size--) {
    if (text.endsWith(stop.slice(0, size))) {
      return size;
    }
  }
  return 0;
}

function cut(given: Tokens): readonly Uint8Array[] {
  if (typeof given !== "string") {
    return given.map((each) =>
      typeof each === "string" ? encoder.encode(each) : new Uint8Array(each),
    );
  }
  const characters = Array.from(given);
  const pieces: Uint8Array[] = [];
  for (let at = 0, number = 0; at < characters.length; number++) {
    const size = CUTS[number % CUTS.length] ?? 1;
    pieces.push(encoder.encode(characters.slice(at, at + size).join("")));
    at += size;
  }
  return pieces;
}

type TokenLogprobs = Extract<CompleteEvent, { kind: "token" }>["logprobs"];

/** An eighth less likely each token. */
function logprobs(piece: Uint8Array, id: number, count: number): TokenLogprobs[number] {
  const logprob = -(id - FIRST_TOKEN + 1) / 8;
  const chosen: TokenText = { id, text: decoder().decode(piece), bytes: [...piece], logprob };
  const others = Array.from({ length: Math.max(count - 1, 0) }, (_, index): TokenText => {
    const text = `other ${index + 1}`;
    return {
      id: FIRST_OTHER + index + 1,
      text,
      bytes: [...encoder.encode(text)],
      logprob: logprob - (index + 1) / 4,
    };
  });
  return { chosen, top: count > 0 ? [chosen, ...others] : [] };
}

/** A vector of length 1 whose numbers a float32 holds exactly; other tokens, other signs. */
function vector(
  tokens: readonly number[],
  { subjects, width = WIDTH }: ScriptedModel,
): Float32Array {
  if (subjects !== undefined) {
    const text = decoder().decode(new Uint8Array(tokens.filter((token) => token < BOS)));
    const subject = subjects.findIndex((words) => words.some((word) => text.includes(word)));
    return Float32Array.from({ length: width }, (_, index) => (index === subject + 1 ? 1 : 0));
  }
  const sign = tokens.reduce((sum, token) => (sum * 31 + token) % 65_521, 0);
  return Float32Array.from({ length: WIDTH }, (_, index) => ((sign >> index) & 1 ? 0.25 : -0.25));
}

/** What the engine was asked for, but the prompt, as JSON in Python's words. */
function told(request: CompleteRequest): string {
  const { sampling } = request;
  return JSON.stringify({
    temperature: sampling.temperature,
    top_k: sampling.topK,
    top_p: sampling.topP,
    min_p: sampling.minP,
    typical_p: sampling.typicalP,
    repeat_last_n: sampling.repeatLastN,
    repeat_penalty: sampling.repeatPenalty,
    presence_penalty: sampling.presencePenalty,
    frequency_penalty: sampling.frequencyPenalty,
    seed: sampling.seed,
    max_tokens: request.maxTokens,
    stop: request.stop,
    json_schema: request.jsonSchema,
    grammar: request.grammar,
    stop_token_ids: request.stopTokenIds,
    ignore_eos: request.ignoreEos,
    logit_bias: request.logitBias,
    choices: request.choices,
    logprobs: request.logprobs,
    preserved: request.preserved,
  });
}

/** The byte order mark is a character like any other. */
function decoder(): TextDecoder {
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

function breath(milliseconds = 0): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
