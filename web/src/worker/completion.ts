/**
 * One prompt continued as the API asks for it: a few choices side by side, each to its own end.
 *
 * What each field means is `transom_api.engine`'s business, and how llama.cpp fulfils it the measure
 * (pyserver/transom_server/engines): a token that ends an answer is an event and counts, but one
 * that only the request names is no event. Knows no messages, no templates and no dialects.
 */
import type { CompleteEvent, CompleteRequest, TokenText } from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import type {
  Completion,
  Constraint,
  GenerateRequest,
  OutputFormat,
  Sampling,
  TokenLogprobs,
} from "../protocol.ts";
import { AnswerText } from "./answer-text.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import type { Detokenizer } from "./detokenizer.ts";
import { type Spoken, speak } from "./speaking.ts";
import type { TokenEngine } from "./token-engine.ts";

export interface CompletionParts {
  engine: TokenEngine;
  tokenizer: ChatTokenizer;
  /** Tokens by which the model ends an answer. */
  stopTokenIds: readonly number[];
  constrain(format: OutputFormat): Promise<Constraint>;
}

/** Engines keep a seed in 32 bits, and the largest one means another seed each time. */
const SEEDS = 2 ** 32 - 1;

/**
 * @param onEvent called for each token and each end. An answer that is aborted has none.
 * @throws TransomError `context-overflow`, `invalid-request`, or what the engine throws; the other
 *   choices are stopped then.
 */
export async function completeText(
  parts: CompletionParts,
  { request, answered = [] }: Completion,
  onEvent: (event: CompleteEvent) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { tokenizer } = parts;
  const promptTokenIds = await tokenizer.encodeAs(request.prompt, true, true);
  const whole: Whole = {
    parts,
    request,
    promptTokenIds,
    shown: shownTokens(tokenizer, request.preserved),
    seed: request.sampling.seed < 0 ? newSeed() : request.sampling.seed,
    format: formatOf(request),
  };
  const failed = new AbortController();
  const signals = signal === undefined ? [failed.signal] : [failed.signal, signal];
  const open = Array.from({ length: request.choices }, (_, choice) => choice).filter(
    (choice) => answered[choice]?.isOver !== true,
  );
  if (promptTokenIds.length === 0) {
    // llama.cpp's way: there is nothing to continue.
    open.forEach((choice) => {
      onEvent(nothing(choice));
    });
    return;
  }
  const results = await Promise.allSettled(
    open.map(async (choice) => {
      try {
        const before = withoutEnd(answered[choice]?.tokenIds ?? [], parts.stopTokenIds);
        await answer(whole, choice, before, onEvent, AbortSignal.any(signals));
      } catch (error) {
        // What one choice fails of, the others would, too.
        failed.abort();
        throw error;
      }
    }),
  );
  for (const result of results) {
    if (result.status === "rejected") {
      throw result.reason;
    }
  }
}

/** An answer that broke off between its last token and its end says that token again. */
function withoutEnd(tokenIds: readonly number[], ends: readonly number[]): readonly number[] {
  const last = tokenIds.at(-1);
  return last !== undefined && ends.includes(last) ? tokenIds.slice(0, -1) : tokenIds;
}

/** What all choices share. */
interface Whole {
  parts: CompletionParts;
  request: CompleteRequest;
  promptTokenIds: readonly number[];
  shown: ReadonlySet<number>;
  seed: number;
  format: OutputFormat | null;
}

async function answer(
  whole: Whole,
  choice: number,
  answeredTokenIds: readonly number[],
  onEvent: (event: CompleteEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  const { parts, request, promptTokenIds, shown, format } = whole;
  const { engine, tokenizer } = parts;
  const decoder = tokenizer.startDecoding({ shown, isContinuation: true });
  const text = new AnswerText(decoder, request.stop);
  const token = (tokenIds: readonly number[], added: string, logprobs?: TokenLogprobs) => {
    const [tokenId] = tokenIds;
    onEvent({
      kind: "token",
      choice,
      tokenIds,
      text: added,
      logprobs:
        logprobs === undefined || tokenId === undefined
          ? []
          : [logprobsOf(tokenId, logprobs, decoder)],
      promptTokens: promptTokenIds.length,
    });
  };
  const constraint = format === null ? null : await parts.constrain(format);
  try {
    const generate = { ...generateRequest(whole, choice), answeredTokenIds };
    const done = await speak(
      engine,
      constraint === null ? generate : { ...generate, constraint },
      text,
      ({ tokenId, text: added, logprobs }) => {
        token(tokenId === null ? [] : [tokenId], added, logprobs);
      },
      signal,
    );
    if (done.finishReason === "abort") {
      return;
    }
    const { stopTokenId } = done;
    if (stopTokenId !== null && parts.stopTokenIds.includes(stopTokenId)) {
      const spelled = shown.has(stopTokenId) ? decoder.bytesOf(stopTokenId) : new Uint8Array(0);
      token([stopTokenId], new TextDecoder().decode(spelled), done.stopLogprobs);
    }
    onEvent(doneEvent(choice, done.finishReason, done));
  } finally {
    constraint?.dispose();
  }
}

function doneEvent(
  choice: number,
  finishReason: "stop" | "length",
  { stopTokenId, stop, promptTokens, cachedTokens, completionTokens, timings }: Spoken,
): CompleteEvent {
  const { prefillSeconds, timeToFirstTokenSeconds, decodeSeconds } = timings;
  return {
    kind: "done",
    choice,
    finishReason,
    promptTokens,
    cachedTokens,
    completionTokens: completionTokens + (stopTokenId === null ? 0 : 1),
    promptSeconds: prefillSeconds,
    completionSeconds: Math.max(0, timeToFirstTokenSeconds - prefillSeconds) + decodeSeconds,
    stop,
  };
}

function nothing(choice: number): CompleteEvent {
  return {
    kind: "done",
    choice,
    finishReason: "stop",
    promptTokens: 0,
    cachedTokens: 0,
    completionTokens: 0,
    promptSeconds: 0,
    completionSeconds: 0,
    stop: null,
  };
}

function generateRequest(whole: Whole, choice: number): GenerateRequest {
  const { parts, request, promptTokenIds, seed } = whole;
  const { engine, stopTokenIds } = parts;
  const { maxTokens, logprobs } = request;
  return {
    promptTokenIds,
    sampling: samplingOf(request, (seed + choice) % SEEDS, stopTokenIds),
    stopTokenIds: [...(request.ignoreEos ? [] : stopTokenIds), ...request.stopTokenIds],
    // The context window ends the answer anyway. llama.cpp says one token where none is asked for.
    maxTokens: maxTokens < 0 ? engine.contextWindowSize : Math.max(1, maxTokens),
    ...(logprobs === null ? {} : { topLogprobs: logprobs }),
  };
}

/** @param ends tokens by which the model ends an answer. */
function samplingOf(
  { sampling, logitBias, ignoreEos }: CompleteRequest,
  seed: number,
  ends: readonly number[],
): Sampling {
  const forbidden = ignoreEos ? ends.map((id) => [id, -Infinity] as const) : [];
  return {
    ...sampling,
    seed,
    // Less than one means all, as where it is left out.
    topK: Math.max(0, sampling.topK),
    logitBias: Object.fromEntries([...logitBias, ...forbidden]),
  };
}

/** @throws TransomError `invalid-request` for two formats. */
function formatOf({ jsonSchema, grammar }: CompleteRequest): OutputFormat | null {
  const hasSchema = jsonSchema !== null && jsonSchema !== undefined;
  if (hasSchema && grammar !== null) {
    throw new TransomError(
      "invalid-request",
      "An answer is held to a JSON schema or to a grammar, not to both.",
    );
  }
  if (hasSchema) {
    return { kind: "json-schema", schema: jsonSchema };
  }
  return grammar === null ? null : { kind: "grammar", grammar };
}

/** The special tokens of these names. */
function shownTokens({ table }: ChatTokenizer, names: readonly string[]): ReadonlySet<number> {
  const wanted = new Set(names);
  const decoder = new TextDecoder();
  return wanted.size === 0
    ? new Set()
    : new Set(
        [...table.specials]
          .filter(([, bytes]) => wanted.has(decoder.decode(bytes)))
          .map(([tokenId]) => tokenId),
      );
}

function logprobsOf(tokenId: number, { logprob, top }: TokenLogprobs, decoder: Detokenizer) {
  const textOf = (id: number, itsLogprob: number): TokenText => {
    const bytes = decoder.bytesOf(id);
    return { id, text: new TextDecoder().decode(bytes), bytes: [...bytes], logprob: itsLogprob };
  };
  return {
    chosen: textOf(tokenId, logprob),
    top: top.map((one) => textOf(one.tokenId, one.logprob)),
  };
}

/** A seed nobody chose: 32 random bits. */
export function newSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
