/**
 * The engine contract of DESIGN 4.6 for many requests at once over one paged KV cache.
 *
 * One loop drives the GPU: it seats who waits, runs prompts piece by piece, and lets all sequences
 * under way decode together, several steps before their tokens are read. Who sits where is
 * `kv-memory.ts`'s business, what a token means for its sequence `sequence.ts`'s, how much to do at
 * once `pace.ts`'s. Knows token ids only.
 */
import { TransomError } from "../../errors.ts";
import type { Done, GenerateRequest, TokenEvent } from "../../protocol.ts";
import type { BatchRuntime, Chosen } from "../runtime.ts";
import { readSampling } from "../sampling-settings.ts";
import type { TokenEngine } from "../token-engine.ts";
import { Flight } from "./flight.ts";
import { KvMemory } from "./kv-memory.ts";
import { fitPrompt, requireRoom } from "./overflow.ts";
import { Pace } from "./pace.ts";
import { scoreText } from "./score.ts";
import { Sequence } from "./sequence.ts";

/** OpenAI's and the GPU's (`ranked`). */
const MAX_TOP_LOGPROBS = 20;

/** Something that has the GPU for itself, once everybody before it has gone. */
interface Errand {
  order: number;
  run: () => Promise<void>;
  fail: (error: unknown) => void;
}

export class BatchEngine implements TokenEngine {
  readonly contextWindowSize: number;
  readonly #runtime: BatchRuntime;
  readonly #pace: Pace;
  #memory: KvMemory;
  /** Who waits, in the order in which they came. */
  #line: (Sequence | Errand)[] = [];
  /** The one whose prompt is being run; one after another, so that equal prompts run once. */
  #prefilling: Sequence | null = null;
  /** Those who decode. */
  #running: Sequence[] = [];
  #flight: Flight | null = null;
  #isDriving = false;
  #arrivals = 0;

  constructor(runtime: BatchRuntime) {
    const { contextWindowSize, pageSize, pageCount } = runtime.limits;
    this.#runtime = runtime;
    this.#pace = new Pace(runtime.limits);
    this.#memory = new KvMemory(runtime);
    // A sequence that is alone must find room for all it may become.
    this.contextWindowSize = Math.min(contextWindowSize, pageSize * pageCount);
  }

  async generate(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done> {
    checkRequest(request);
    const sequence = new Sequence(
      request,
      ++this.#arrivals,
      fitPrompt(request, this.contextWindowSize),
      onToken,
      (over) => {
        this.#leave(over);
      },
    );
    const abort = () => {
      sequence.end("abort");
    };
    if (signal?.aborted) {
      abort();
      return sequence.done;
    }
    signal?.addEventListener("abort", abort, { once: true });
    this.#join(sequence);
    try {
      return await sequence.done;
    } finally {
      signal?.removeEventListener("abort", abort);
    }
  }

  async score(
    tokenIds: readonly number[],
    prefilled: number,
    onLogits: (logits: Float32Array, position: number) => void,
  ): Promise<void> {
    if (!Number.isSafeInteger(prefilled) || prefilled < 1 || prefilled >= tokenIds.length) {
      throw new TransomError(
        "invalid-request",
        `Of ${tokenIds.length} tokens, ${prefilled} cannot be the given ones.`,
      );
    }
    requireRoom(tokenIds.length, this.contextWindowSize);
    await new Promise<void>((resolve, fail) => {
      const run = () =>
        scoreText(this.#runtime, this.#memory, tokenIds, prefilled, onLogits).then(resolve, fail);
      this.#join({ order: ++this.#arrivals, run, fail });
    });
  }

  dispose(): void {
    this.#failAll(new TransomError("aborted", "The model was unloaded."));
    this.#runtime.dispose();
  }

  #join(comer: Sequence | Errand): void {
    this.#line.push(comer);
    // One that was paused came before those that have not been served yet.
    this.#line.sort((one, other) => one.order - other.order);
    if (!this.#isDriving) {
      this.#isDriving = true;
      void this.#drive();
    }
  }

  get #hasWork(): boolean {
    const isBusy = this.#flight !== null || this.#prefilling !== null;
    return isBusy || this.#running.length > 0 || this.#line.length > 0;
  }

  /** Serves everybody until nobody is left. */
  async #drive(): Promise<void> {
    while (this.#hasWork) {
      try {
        await this.#turn();
      } catch (error) {
        this.#failAll(error);
      }
    }
    this.#isDriving = false;
  }

  /** One piece of work for the GPU, and what it brought. */
  async #turn(): Promise<void> {
    if (this.#flight !== null) {
      await this.#continueFlight(this.#flight);
      return;
    }
    this.#prefilling ??= this.#seatNext();
    if (this.#prefilling !== null) {
      await this.#prefill(this.#prefilling);
    } else if (this.#running.length > 0) {
      this.#takeOff();
    } else {
      await this.#serveAlone();
    }
  }

  /** Nobody is seated, and who is next cannot sit down. */
  async #serveAlone(): Promise<void> {
    const next = this.#line.shift();
    if (next instanceof Sequence) {
      next.fail(new TransomError("internal", "The KV cache has no room for one sequence."));
    } else {
      await next?.run();
    }
  }

  /** The next in line, seated, if there is a row and pages for it. */
  #seatNext(): Sequence | null {
    const [next] = this.#line;
    const { maxRows, slots } = this.#runtime.limits;
    if (!(next instanceof Sequence) || this.#running.length >= Math.min(maxRows, slots)) {
      return null;
    }
    // A page for each of the others, or they would push it out again at once.
    const seat = this.#memory.sit(next.tokenIds, { headroom: this.#running.length });
    if (seat === null) {
      return null;
    }
    this.#line.shift();
    next.sitDown(seat);
    return next;
  }

  /** One piece of a prompt, and behind it one group of steps of those who decode. */
  async #prefill(sequence: Sequence): Promise<void> {
    const { seat, tokenIds } = sequence;
    if (seat === null) {
      throw new TransomError("internal", "A prompt was to be run that has no place.");
    }
    const size = this.#pace.chunkSize(this.#running.length > 0);
    const chunk = tokenIds.slice(seat.computed, seat.computed + size);
    const last = seat.computed + chunk.length - 1;
    const isWhole = last === tokenIds.length - 1;
    const { wantFirstLogits = false } = sequence.request;

    const startedAt = performance.now();
    this.#runtime.prefill(seat.slot, seat.computed, chunk);
    const wait = async () => {
      const [logits, chosen] = await Promise.all([
        isWhole && wantFirstLogits ? this.#runtime.readLogits(0) : null,
        isWhole
          ? this.#runtime.chooseNext(seat.slot, last, sequence.choice)
          : this.#runtime.settle(),
      ]);
      this.#pace.prefilled(chunk.length, performance.now() - startedAt);
      return { logits: logits?.slice(), chosen };
    };
    const waited = wait();
    if (this.#running.length > 0) {
      // It has a promise of its own for what goes wrong.
      waited.catch(() => undefined);
      this.#takeOff();
    }
    const { logits, chosen } = await waited;
    // It may have been aborted meanwhile, or had to give way.
    if (sequence.seat !== seat) {
      return;
    }
    seat.computed = last + 1;
    this.#memory.share(seat);
    if (isWhole && chosen !== undefined) {
      this.#prefilling = null;
      this.#running.push(sequence);
      sequence.prefilled();
      this.#accept(sequence, chosen, logits);
    }
  }

  /** Begin to decode with all who are ready. */
  #takeOff(): void {
    let steps = this.#stepsAhead(0);
    while (!this.#reserve(steps)) {
      if (steps > 1) {
        steps = 1;
      } else {
        this.#pauseYoungest();
      }
    }
    if (this.#running.length > 0) {
      this.#flight = new Flight(this.#running, () => []);
      this.#flight.add(this.#runtime.step(this.#flight.rows, steps), steps);
    }
  }

  /** Keep the GPU busy and take in what a group of steps has brought. */
  async #continueFlight(flight: Flight): Promise<void> {
    const most = this.#pace.isQuick ? 2 : 1;
    while (flight.groupCount < most) {
      const steps = this.#isSteady(flight) ? this.#stepsAhead(flight.stepsAhead) : 0;
      if (steps < 1 || !this.#reserve(flight.stepsAhead + steps)) {
        break;
      }
      flight.add(this.#runtime.stepOn(steps), steps);
    }
    if (flight.groupCount === 0) {
      this.#flight = null;
      return;
    }
    const { chosen, ms } = await flight.read();
    this.#pace.stepped(chosen.length, ms);
    for (const member of flight.members) {
      for (const step of chosen) {
        const next = step[member.row];
        // What comes after a stop, an abort or a shift is nobody's.
        if (next === undefined || flight.hasLeft(member)) {
          break;
        }
        this.#accept(member.sequence, next);
      }
      this.#noteComputed(member.sequence);
    }
  }

  /** Whether the same rows can go on without the CPU. */
  #isSteady(flight: Flight): boolean {
    return (
      this.#prefilling === null &&
      flight.members.length === this.#running.length &&
      flight.members.every((member) => !flight.hasLeft(member) && !member.sequence.isStepwise) &&
      !this.#canSeatNext()
    );
  }

  #canSeatNext(): boolean {
    const [next] = this.#line;
    const { maxRows, slots } = this.#runtime.limits;
    return (
      next instanceof Sequence &&
      this.#running.length < Math.min(maxRows, slots) &&
      this.#memory.hasPlace(next.tokenIds, { headroom: this.#running.length })
    );
  }

  /** Steps to do at once behind those on their way: none where no sequence could use them. */
  #stepsAhead(ahead: number): number {
    const running = this.#running;
    if (running.some(({ isStepwise }) => isStepwise)) {
      return 1;
    }
    const wanted = Math.max(...running.map(({ tokensLeft }) => tokensLeft - ahead));
    const bearable = Math.min(...running.map(({ groups }) => this.#pace.steps(groups)));
    const placesLeft = Math.min(
      ...running.map(({ tokenIds }) => this.contextWindowSize + 1 - tokenIds.length - ahead),
    );
    return Math.min(wanted, bearable, placesLeft);
  }

  /** Pages for so many steps of all who decode. */
  #reserve(steps: number): boolean {
    return this.#running.every(
      ({ seat, tokenIds }) => seat !== null && this.#memory.grow(seat, tokenIds.length - 1 + steps),
    );
  }

  /** The one who came last gives its pages to the others and waits for its turn. */
  #pauseYoungest(): void {
    const seated = [...this.#running, ...(this.#prefilling === null ? [] : [this.#prefilling])];
    const youngest = seated.reduce((one, other) => (one.order > other.order ? one : other));
    this.#standUp(youngest);
    this.#join(youngest);
  }

  #accept(sequence: Sequence, chosen: Chosen, logits?: Float32Array): void {
    try {
      if (sequence.accept(chosen, this.contextWindowSize, logits) === "is full") {
        this.#standUp(sequence);
        sequence.shift();
        this.#join(sequence);
      }
    } catch (error) {
      // What listens to it or holds it to a format has failed; the others have no part in that.
      sequence.fail(error);
    }
  }

  /** All tokens but the last have run, and what was chosen behind an end does not count. */
  #noteComputed({ seat, tokenIds }: Sequence): void {
    if (seat !== null) {
      seat.computed = tokenIds.length - 1;
      this.#memory.share(seat);
    }
  }

  /** Out of everything: it is over. */
  #leave(sequence: Sequence): void {
    this.#line = this.#line.filter((other) => other !== sequence);
    if (this.#running.includes(sequence)) {
      this.#noteComputed(sequence);
    }
    this.#standUp(sequence);
  }

  #standUp(sequence: Sequence): void {
    if (sequence.seat !== null) {
      this.#memory.leave(sequence.seat);
      sequence.seat = null;
    }
    this.#running = this.#running.filter((other) => other !== sequence);
    if (this.#prefilling === sequence) {
      this.#prefilling = null;
    }
  }

  /** Nobody knows how far the KV cache got: everybody hears of it, and it is empty from now on. */
  #failAll(error: unknown): void {
    const all = [...this.#line, ...this.#running];
    if (this.#prefilling !== null) {
      all.push(this.#prefilling);
    }
    this.#flight = null;
    all.forEach((one) => {
      one.fail(error);
    });
    this.#line = [];
    this.#memory = new KvMemory(this.#runtime);
  }
}

function checkRequest({ promptTokenIds, maxTokens, sampling, ...more }: GenerateRequest): void {
  const { topLogprobs = 0, keepTokens = 0 } = more;
  if (promptTokenIds.length === 0) {
    throw new TransomError("invalid-request", "The prompt is empty.");
  }
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new TransomError("invalid-request", `maxTokens must be 1 or more, not ${maxTokens}.`);
  }
  requireWhole("topLogprobs", topLogprobs, MAX_TOP_LOGPROBS);
  requireWhole("keepTokens", keepTokens, promptTokenIds.length);
  readSampling(sampling);
}

function requireWhole(name: string, value: number, max: number): void {
  if (!Number.isSafeInteger(value) || value < 0 || value > max) {
    throw new TransomError(
      "invalid-request",
      `${name} must be a whole number from 0 to ${max}, not ${value}.`,
    );
  }
}
