/**
 * One way to measure an engine that answers chats, so that figures of two engines mean the same.
 *
 * Knows neither an engine nor a host: both are handed in. Prompts are made here, because engines
 * must be asked the same. Times of the first use of everything are told apart from the later ones.
 */
import { TransomError } from "../errors.ts";
import type { Message } from "../protocol.ts";
import type { GpuCounts } from "./gpu-counters.ts";

export { type GpuCounter, type GpuCounts, countGpu } from "./gpu-counters.ts";

export interface MeasuredAnswer {
  promptTokens: number;
  /** Of those, how many the engine still knew and did not run. */
  cachedTokens: number;
  /** When each token of the answer came (`performance.now()`). */
  tokenTimes: number[];
}

export interface MeasuredEngine {
  /** Answer greedily with exactly so many tokens, whatever they are. */
  complete(messages: readonly Message[], maxTokens: number): Promise<MeasuredAnswer>;
}

export interface Meter {
  /** Null where the engine uses no GPU. */
  read(): Promise<GpuCounts | null>;
  pretend(): Promise<void>;
  /** Bytes that JavaScript holds now, workers included; null where nobody tells. May take long. */
  readHeap(): Promise<number | null>;
}

export interface Plan {
  /** Another one, other prompts: whoever keeps prompts between visits gains nothing by it. */
  salt: number;
  /** Time the very first answer, while which most engines still build pipelines. */
  firstAnswer: boolean;
  /** Lengths of prompts, in tokens, roughly: tokenizers differ. */
  promptTokens: readonly number[];
  /** Tokens of an answer; 0: no real decoding at all. */
  tokens: number;
  /** How many answers are under way at once, one figure for each. */
  sequences: readonly number[];
  /** Tokens of the answer that costs the GPU nothing; 0: leave that out. */
  hostTokens: number;
}

/** What one more token costs. */
export type PerToken = Pick<
  GpuCounts,
  "dispatches" | "submits" | "readBacks" | "bufferWrites" | "bytesWritten" | "bindGroups"
>;

export interface Decode {
  sequences: number;
  tokens: number;
  /** Of all answers together, once all of them have begun. */
  tokensPerSecond: number;
  perToken: PerToken | null;
}

export interface Figures {
  /** From the first question ever to its first token: pipelines are built meanwhile. */
  firstAnswerSeconds: number | null;
  prefill: {
    /** As in the plan. */
    about: number;
    promptTokens: number;
    cachedTokens: number;
    timeToFirstTokenSeconds: number;
    tokensPerSecond: number;
  }[];
  /** A number of sequences that the engine refuses is left out. */
  decode: Decode[];
  /** The CPU's part of a token, measured with a GPU that has nothing to do. */
  host: { tokens: number; millisecondsPerToken: number; perToken: PerToken | null } | null;
  memory: { peakGpuBytes: number | null; heapBytes: number | null };
}

/** Each about one token to any tokenizer that knows English. */
const WORDS =
  "time year people way day man thing woman life child world school state family student group " +
  "country problem hand part place case week company system program question work night point home " +
  "water room mother area money story fact month lot right study book eye job word business issue";
/** What a chat template adds, roughly. */
const TEMPLATE_TOKENS = 34;
/** A short question. */
const FIRST_TOKENS = 48;
/** Enough to have built whatever an answer needs. */
const WARM_UP_TOKENS = 2;
/** The second time whoever keeps prompts still moves some of it to its place. */
const WARM_UPS = 2;

const HEROES = [
  "a lighthouse keeper who finds a letter in a bottle",
  "a baker who moves to the mountains",
  "a young doctor on a ship",
  "two brothers who build a bridge",
  "a teacher in a village without a road",
  "a dog that walks home across the country",
  "a painter who cannot see the colour red",
  "a queen who wants to be a gardener",
];

/** A prompt of about so many tokens; another `salt`, other words from the start. */
function longPrompt(tokens: number, salt: number): Message[] {
  const words = WORDS.split(" ");
  let state = salt;
  const text = Array.from({ length: Math.max(1, tokens - TEMPLATE_TOKENS) }, () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return words[Math.floor(state / 65_536) % words.length] ?? "";
  });
  return [{ role: "user", content: text.join(" ") }];
}

function story(index: number): Message[] {
  const hero = HEROES[index % HEROES.length] ?? "";
  return [{ role: "user", content: `Write a long story about ${hero}.` }];
}

/** Everything in the plan, in an order that leaves the made-up answers for the end. */
export async function measure(engine: MeasuredEngine, meter: Meter, plan: Plan): Promise<Figures> {
  const run = new Run(engine, meter);
  const first = plan.firstAnswer ? await run.ask(longPrompt(FIRST_TOKENS, plan.salt)) : null;
  const prefill: Figures["prefill"] = [];
  for (const tokens of plan.promptTokens) {
    const { answer, seconds } = await run.ask(longPrompt(tokens, plan.salt + tokens));
    const { promptTokens, cachedTokens } = answer;
    prefill.push({
      about: tokens,
      promptTokens,
      cachedTokens,
      timeToFirstTokenSeconds: seconds,
      tokensPerSecond: (promptTokens - cachedTokens) / seconds,
    });
  }
  const decode: Decode[] = [];
  if (plan.tokens > 0) {
    for (const sequences of plan.sequences) {
      const figures = await run.decodeIfAble(sequences, plan.tokens);
      decode.push(...(figures === null ? [] : [figures]));
    }
  }
  const heapBytes = plan.tokens > 0 ? await meter.readHeap() : null;
  let host: Figures["host"] = null;
  if (plan.hostTokens > 0) {
    await meter.pretend();
    const { tokensPerSecond, tokens, perToken } = await run.decode(1, plan.hostTokens);
    host = { tokens, millisecondsPerToken: 1000 / tokensPerSecond, perToken };
  }
  const firstAnswerSeconds = first?.seconds ?? null;
  const peakGpuBytes = (await meter.read())?.peakBytes ?? null;
  return { firstAnswerSeconds, prefill, decode, host, memory: { peakGpuBytes, heapBytes } };
}

class Run {
  readonly #engine: MeasuredEngine;
  readonly #meter: Meter;

  constructor(engine: MeasuredEngine, meter: Meter) {
    this.#engine = engine;
    this.#meter = meter;
  }

  /** One token: what a person waits for. */
  async ask(messages: Message[]): Promise<{ answer: MeasuredAnswer; seconds: number }> {
    const startedAt = performance.now();
    const answer = await this.#engine.complete(messages, 1);
    return { answer, seconds: ((answer.tokenTimes[0] ?? startedAt) - startedAt) / 1000 };
  }

  /**
   * Answers of the same prompts, short, short again, and long, after a warm-up. The short ones' cost is taken from
   * the long ones', so that prompts and steps that ran for nothing at an end do not count.
   */
  async decode(sequences: number, tokens: number): Promise<Decode> {
    for (let time = 0; time < WARM_UPS; time++) {
      await this.#together(sequences, WARM_UP_TOKENS);
    }
    const before = await this.#meter.read();
    await this.#together(sequences, WARM_UP_TOKENS);
    const between = await this.#meter.read();
    const answers = await this.#together(sequences, WARM_UP_TOKENS + tokens);
    const after = await this.#meter.read();

    const begun = Math.max(...answers.map(({ tokenTimes }) => tokenTimes[0] ?? 0));
    const ended = Math.max(...answers.map(({ tokenTimes }) => tokenTimes.at(-1) ?? 0));
    const came = answers.flatMap(({ tokenTimes }) => tokenTimes.filter((time) => time > begun));
    const written = answers.reduce((sum, { tokenTimes }) => sum + tokenTimes.length, 0);
    const more = written - sequences * WARM_UP_TOKENS;
    return {
      sequences,
      tokens: written,
      tokensPerSecond: (came.length * 1000) / (ended - begun),
      perToken:
        before === null || between === null || after === null
          ? null
          : costOf(before, between, after, more),
    };
  }

  /** Null where the engine answers only one at a time. */
  async decodeIfAble(sequences: number, tokens: number): Promise<Decode | null> {
    try {
      return await this.decode(sequences, tokens);
    } catch (error) {
      if (sequences > 1 && error instanceof TransomError && error.code === "busy") {
        return null;
      }
      throw error;
    }
  }

  async #together(sequences: number, tokens: number): Promise<MeasuredAnswer[]> {
    const answers = Array.from({ length: sequences }, (_, index) =>
      this.#engine.complete(story(index), tokens),
    );
    // None may be left running when another one fails.
    await Promise.allSettled(answers);
    return Promise.all(answers);
  }
}

function costOf(before: GpuCounts, between: GpuCounts, after: GpuCounts, tokens: number): PerToken {
  const each = (name: keyof PerToken) =>
    (after[name] - between[name] - (between[name] - before[name])) / tokens;
  return {
    dispatches: each("dispatches"),
    submits: each("submits"),
    readBacks: each("readBacks"),
    bufferWrites: each("bufferWrites"),
    bytesWritten: each("bytesWritten"),
    bindGroups: each("bindGroups"),
  };
}
