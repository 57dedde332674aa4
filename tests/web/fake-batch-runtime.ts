/**
 * A tiny model over a real page table. What comes next depends on every token before it, read
 * through the pages, so a page that is mixed up, stale or overwritten gives another text. What the
 * GPU would do wrong in silence is an error here.
 */
import type { Sampling } from "../../web/src/protocol.ts";
import type {
  BatchLimits,
  BatchRuntime,
  Chosen,
  Row,
  RowChoice,
} from "../../web/src/worker/runtime.ts";

/** What a page holds of a token; `state` sums up all tokens to here. */
interface Entry {
  tokenId: number;
  position: number;
  state: number;
}

export const SMALL: BatchLimits = {
  contextWindowSize: 64,
  prefillChunkSize: 8,
  maxRows: 4,
  slots: 6,
  pageSize: 4,
  pageCount: 64,
  vocabularySize: 32,
};

/** A choice among few tokens, as a format makes it. */
export function maskOf(
  tokenIds: readonly number[],
  vocabularySize = SMALL.vocabularySize,
): Int32Array {
  const mask = new Int32Array(Math.ceil(vocabularySize / 32));
  for (const tokenId of tokenIds) {
    mask[tokenId >> 5] = (mask[tokenId >> 5] ?? 0) | (1 << (tokenId & 31));
  }
  return mask;
}

export interface Call {
  kind: "prefill" | "choose" | "step" | "stepOn";
  /** Rows, or tokens of a prefill. */
  size: number;
  steps: number;
}

export class FakeBatchRuntime implements BatchRuntime {
  readonly limits: BatchLimits;
  readonly calls: Call[] = [];
  /** Tokens that went through the model, as prompts. */
  prefilledTokens = 0;
  copies = 0;
  pageReads = 0;
  pageWrites = 0;
  /** How long the GPU takes; runs before each answer. */
  delay: () => Promise<void> = () => new Promise((resolve) => setImmediate(resolve));
  /** Rejects answers while it gives an error. */
  failure: () => Error | null = () => null;
  isDisposed = false;
  /** What was done wrong; the engine might swallow what is thrown. */
  readonly misuses: string[] = [];

  readonly #table: number[][];
  readonly #history: number[][];
  readonly #pages: (Entry | null)[][];
  #logits = new Map<number, Float32Array>();
  #rows: Row[] = [];
  #canStepOn = false;
  #prefilled: { slot: number; position: number } | null = null;
  #queue: Promise<unknown> = Promise.resolve();

  constructor(limits: Partial<BatchLimits> = {}) {
    this.limits = { ...SMALL, ...limits };
    const { slots, pageCount, pageSize } = this.limits;
    this.#table = Array.from({ length: slots }, () => []);
    this.#history = Array.from({ length: slots }, () => []);
    this.#pages = Array.from({ length: pageCount }, () => Array<Entry | null>(pageSize).fill(null));
  }

  /** Pages that some slot's table names. */
  get pagesInTables(): number {
    return new Set(this.#table.flat()).size;
  }

  setPages(slot: number, first: number, pages: readonly number[]): void {
    const row = this.#slot(slot);
    this.#require(first <= row.length, `slot ${slot}: page ${first} comes before ${row.length}`);
    this.#require(
      pages.every((page) => page >= 0 && page < this.limits.pageCount),
      `slot ${slot}: no such page in ${pages.join(" ")}`,
    );
    row.splice(first, row.length, ...pages);
    this.#require(new Set(row).size === row.length, `slot ${slot}: a page twice`);
  }

  setTokens(slot: number, position: number, tokenIds: readonly number[]): void {
    tokenIds.forEach((tokenId, offset) => {
      this.#historyOf(slot)[position + offset] = tokenId;
    });
  }

  prefill(slot: number, position: number, tokenIds: readonly number[]): void {
    const { prefillChunkSize } = this.limits;
    this.#require(
      tokenIds.length > 0 && tokenIds.length <= prefillChunkSize,
      `a chunk of ${tokenIds.length}`,
    );
    this.calls.push({ kind: "prefill", size: tokenIds.length, steps: 1 });
    this.prefilledTokens += tokenIds.length;
    tokenIds.forEach((tokenId, offset) => {
      this.#forward(slot, position + offset, tokenId);
    });
    const last = position + tokenIds.length - 1;
    this.#logits = new Map([[0, this.#logitsAt(slot, last)]]);
    this.#prefilled = { slot, position: last };
    this.#canStepOn = false;
  }

  chooseNext(slot: number, position: number, choice: RowChoice): Promise<Chosen> {
    this.calls.push({ kind: "choose", size: 1, steps: 1 });
    const { slot: filled, position: last } = this.#prefilled ?? { slot: -1, position: -1 };
    this.#require(filled === slot && last === position, "chooses behind what did not run last");
    return this.#later(this.#choose(slot, position, choice, this.#logits.get(0)));
  }

  step(rows: readonly Row[], steps: number): Promise<Chosen[][]> {
    const { maxRows } = this.limits;
    this.#require(rows.length > 0 && rows.length <= maxRows, `${rows.length} rows`);
    const places = rows.map(({ slot, position }) => `${slot}:${position}`);
    this.#require(new Set(places).size === rows.length, "a place twice");
    const hasDrafts = new Set(rows.map(({ slot }) => slot)).size < rows.length;
    this.#require(!hasDrafts || steps === 1, "drafts in more than one step");
    this.#rows = [...rows];
    this.#canStepOn = !hasDrafts;
    this.calls.push({ kind: "step", size: rows.length, steps });
    return this.#later(this.#steps(steps));
  }

  stepOn(steps: number): Promise<Chosen[][]> {
    this.#require(this.#canStepOn, "goes on behind something that was no step");
    this.calls.push({ kind: "stepOn", size: this.#rows.length, steps });
    return this.#later(this.#steps(steps));
  }

  copyPage(from: number, to: number): void {
    this.copies++;
    this.#pages[to] = this.#page(from).map((entry) => (entry === null ? null : { ...entry }));
  }

  readPage(page: number): Promise<Uint8Array> {
    this.pageReads++;
    const bytes = new TextEncoder().encode(JSON.stringify(this.#page(page)));
    return this.#later(bytes);
  }

  writePage(page: number, bytes: Uint8Array): void {
    this.pageWrites++;
    this.#pages[page] = JSON.parse(new TextDecoder().decode(bytes)) as (Entry | null)[];
  }

  readLogits(row: number): Promise<Float32Array> {
    const logits = this.#logits.get(row);
    this.#require(logits !== undefined, `no logits in row ${row}`);
    return this.#later(logits ?? new Float32Array(0));
  }

  settle(): Promise<void> {
    return this.#later(undefined);
  }

  dispose(): void {
    this.isDisposed = true;
  }

  #steps(steps: number): Chosen[][] {
    this.#require(steps >= 1, `${steps} steps`);
    const isPlain = this.#rows.every(
      ({ choice }) => choice.nextMask === null && choice.topLogprobs === null,
    );
    this.#require(steps === 1 || isPlain, "masks or log-probabilities in more than one step");
    return Array.from({ length: steps }, () => {
      for (const { slot, position, tokenId } of this.#rows) {
        this.#forward(slot, position, tokenId);
      }
      this.#logits = new Map(
        this.#rows.map(({ slot, position }, row) => [row, this.#logitsAt(slot, position)]),
      );
      const chosen = this.#rows.map(({ slot, position, choice }, row) =>
        this.#choose(slot, position, choice, this.#logits.get(row)),
      );
      this.#rows = this.#rows.map((row, index) => ({
        ...row,
        position: row.position + 1,
        tokenId: chosen[index]?.tokenId ?? 0,
      }));
      return chosen;
    });
  }

  #forward(slot: number, position: number, tokenId: number): void {
    const { contextWindowSize, pageSize, vocabularySize } = this.limits;
    this.#require(!this.isDisposed, "runs after it was disposed of");
    this.#require(
      position >= 0 && position < contextWindowSize,
      `position ${position} is outside the window`,
    );
    this.#require(tokenId >= 0 && tokenId < vocabularySize, `no such token: ${tokenId}`);
    const page = this.#pageAt(slot, position);
    const sharers = this.#table.filter((row) => row.includes(page)).length;
    this.#require(sharers <= 1, `slot ${slot} writes to page ${page}, which another slot has too`);
    const before = position === 0 ? 1 : this.#entryAt(slot, position - 1).state;
    const entry = { tokenId, position, state: nextState(before, tokenId, position) };
    this.#page(page)[position % pageSize] = entry;
    this.#historyOf(slot)[position] = tokenId;
  }

  /** Reads all that the slot's pages hold up to a position. */
  #logitsAt(slot: number, position: number): Float32Array {
    const states = Array.from({ length: position + 1 }, (_, index) => this.#entryAt(slot, index));
    return toyLogits(states, this.limits.vocabularySize);
  }

  #choose(
    slot: number,
    position: number,
    choice: RowChoice,
    logits: Float32Array = new Float32Array(0),
  ): Chosen {
    const history = this.#historyOf(slot).slice(0, position + 1);
    const mask = choice.nextMask?.() ?? null;
    const tokenId = toyChoice(logits, history, choice.sampling, mask);
    this.#historyOf(slot)[position + 1] = tokenId;
    if (choice.topLogprobs === null) {
      return { tokenId, logprob: null, top: [] };
    }
    const logprobs = toyLogprobs(logits);
    const top = Array.from(logprobs, (logprob, id) => ({ tokenId: id, logprob }))
      .sort((one, other) => other.logprob - one.logprob)
      .slice(0, choice.topLogprobs);
    return { tokenId, logprob: logprobs[tokenId] ?? 0, top };
  }

  #entryAt(slot: number, position: number): Entry {
    const { pageSize } = this.limits;
    const entry = this.#page(this.#pageAt(slot, position))[position % pageSize] ?? null;
    this.#require(entry?.position === position, `slot ${slot} reads a stale page at ${position}`);
    return entry ?? { tokenId: -1, position, state: 0 };
  }

  #pageAt(slot: number, position: number): number {
    const page = this.#slot(slot)[Math.floor(position / this.limits.pageSize)];
    this.#require(page !== undefined, `slot ${slot} has no page for position ${position}`);
    return page ?? 0;
  }

  #slot(slot: number): number[] {
    const row = this.#table[slot];
    this.#require(row !== undefined, `no such slot: ${slot}`);
    return row ?? [];
  }

  #historyOf(slot: number): number[] {
    return this.#history[slot] ?? [];
  }

  #page(page: number): (Entry | null)[] {
    return this.#pages[page] ?? [];
  }

  #later<T>(value: T): Promise<T> {
    const answer = this.#queue.then(async () => {
      await this.delay();
      const error = this.failure();
      if (error !== null) {
        throw error;
      }
      return value;
    });
    this.#queue = answer.catch(() => undefined);
    return answer;
  }

  #require(isRight: boolean, misuse: string): void {
    if (!isRight) {
      this.misuses.push(misuse);
      throw new Error(`Misused: ${misuse}.`);
    }
  }
}

export interface ToyOptions {
  vocabularySize?: number;
  stopTokenIds?: readonly number[];
  /** Where it is full, forget the older half behind the first `keepTokens`. */
  shift?: { window: number; keepTokens: number };
}

/** The text that the same model says with nothing but a list of tokens: no pages, no batches. */
export function toyText(
  promptTokenIds: readonly number[],
  sampling: Sampling,
  tokens: number,
  { vocabularySize = SMALL.vocabularySize, stopTokenIds = [], shift }: ToyOptions = {},
): number[] {
  let known = [...promptTokenIds];
  const said: number[] = [];
  while (said.length < tokens) {
    if (shift !== undefined && known.length > shift.window) {
      const first = known.slice(0, shift.keepTokens);
      const behind = known.slice(shift.keepTokens);
      known = [...first, ...behind.slice(Math.floor(behind.length / 2))];
    }
    const chosen = toyChoice(toyLogitsOf(known, vocabularySize), known, sampling, null);
    if (stopTokenIds.includes(chosen)) {
      break;
    }
    known.push(chosen);
    said.push(chosen);
  }
  return said;
}

export function toyLogitsOf(
  tokenIds: readonly number[],
  vocabularySize = SMALL.vocabularySize,
): Float32Array {
  const entries: Entry[] = [];
  let state = 1;
  tokenIds.forEach((tokenId, position) => {
    state = nextState(state, tokenId, position);
    entries.push({ tokenId, position, state });
  });
  return toyLogits(entries, vocabularySize);
}

/** A logit for each token by all that came before; what followed the last token once is likelier. */
function toyLogits(entries: readonly Entry[], vocabularySize: number): Float32Array {
  const sum = entries.reduce((folded, { state }) => mix(folded, state), 7);
  const logits = Float32Array.from({ length: vocabularySize }, (_, id) => fraction(mix(sum, id)));
  const last = entries.at(-1)?.tokenId;
  const again = entries.findLastIndex(
    ({ tokenId }, index) => tokenId === last && index < entries.length - 1,
  );
  const follower = entries[again + 1]?.tokenId;
  if (again >= 0 && follower !== undefined && follower >= 0) {
    logits[follower] = (logits[follower] ?? 0) + 0.5;
  }
  return logits;
}

function toyChoice(
  logits: Float32Array,
  history: readonly number[],
  { temperature, seed, presencePenalty = 0 }: Sampling,
  mask: Int32Array | null,
): number {
  const adjusted = logits.map((logit, id) => {
    const isAllowed = mask === null || (((mask[id >> 5] ?? 0) >> (id & 31)) & 1) === 1;
    return isAllowed ? logit - (history.includes(id) ? presencePenalty : 0) : -Infinity;
  });
  if (temperature === 0) {
    return adjusted.indexOf(Math.max(...adjusted));
  }
  const weights = Array.from(adjusted, (logit) => Math.exp(logit / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  let left = fraction(mix(seed, history.length)) * total;
  const chosen = weights.findIndex((weight) => (left -= weight) < 0);
  return chosen < 0 ? weights.length - 1 : chosen;
}

function toyLogprobs(logits: Float32Array): Float32Array {
  const sum = logits.reduce((total, logit) => total + Math.exp(logit), 0);
  return logits.map((logit) => logit - Math.log(sum));
}

function nextState(before: number, tokenId: number, position: number): number {
  return mix(mix(before, tokenId), position);
}

function mix(one: number, other: number): number {
  let mixed = Math.imul(one ^ Math.imul(other + 0x9e3779b9, 0x85ebca6b), 0xc2b2ae35);
  mixed ^= mixed >>> 15;
  mixed = Math.imul(mixed, 0x2c1b3c6d);
  return (mixed ^ (mixed >>> 13)) >>> 0;
}

function fraction(bits: number): number {
  return bits / 2 ** 32;
}
