/**
 * The engine contract of DESIGN 4.6 for many requests at once over one paged KV cache.
 *
 * One loop drives the GPU: it seats who waits, runs prompts piece by piece, and lets all who have
 * run theirs decode together, several steps before their tokens are read. Who sits where is
 * `seating.ts`'s business, what a token means for its sequence `sequence.ts`'s, how much to do at
 * once `pace.ts`'s. Knows token ids only.
 */
import { TransomError } from "../../errors.ts";
import type { Done, GenerateRequest, TokenEvent } from "../../protocol.ts";
import { fitPrompt, requireRoom } from "../overflow.ts";
import { checkPrefilled, checkRequest } from "../request-check.ts";
import type { BatchRuntime, Chosen } from "../runtime.ts";
import type { TokenEngine } from "../token-engine.ts";
import { DraftMeter, MOST_GUESSES, draft } from "./drafts.ts";
import { Flight, type Member, SHORTEST_MS } from "./flight.ts";
import { Pace } from "./pace.ts";
import type { PrefixKeeper } from "./prefix-store.ts";
import { scoreText } from "./score.ts";
import { Seating, requireSeat } from "./seating.ts";
import { Sequence } from "./sequence.ts";

export class BatchEngine implements TokenEngine {
  readonly contextWindowSize: number;
  readonly parallel: number;
  readonly #runtime: BatchRuntime;
  readonly #prefixes: PrefixKeeper | null;
  readonly #seating: Seating;
  readonly #pace: Pace;
  readonly #draftMeter = new DraftMeter();
  #flight: Flight | null = null;
  #isDriving = false;
  #arrivals = 0;

  /** @param prefixes keeps beginnings of prompts beyond this visit; null: nothing does. */
  constructor(runtime: BatchRuntime, prefixes: PrefixKeeper | null = null) {
    const { contextWindowSize, pageSize, pageCount, maxRows, slots } = runtime.limits;
    this.#runtime = runtime;
    this.#prefixes = prefixes;
    this.#seating = new Seating(runtime);
    this.#pace = new Pace(runtime.limits);
    this.parallel = Math.min(maxRows, slots);
    // A sequence that is alone must find room for all it may become.
    this.contextWindowSize = Math.min(contextWindowSize, pageSize * pageCount);
  }

  async generate(
    request: GenerateRequest,
    onToken: (event: TokenEvent) => void,
    signal?: AbortSignal,
  ): Promise<Done> {
    checkRequest(request);
    const fitted = fitPrompt(request, this.contextWindowSize);
    const order = ++this.#arrivals;
    const sequence = new Sequence(request, order, fitted, onToken, (over) => {
      this.#keepPrefix(over);
      this.#seating.leave(over);
    });
    const abort = () => {
      sequence.end("abort");
    };
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) {
      abort();
    } else if (sequence.isComplete()) {
      sequence.end("stop");
    } else {
      this.#seating.join(sequence);
      this.#wake();
    }
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
    checkPrefilled(tokenIds.length, prefilled);
    requireRoom(tokenIds.length, this.contextWindowSize);
    await new Promise<void>((resolve, fail) => {
      const run = () =>
        scoreText(this.#runtime, this.#seating.memory, tokenIds, prefilled, onLogits).then(
          resolve,
          fail,
        );
      this.#seating.join({ order: ++this.#arrivals, run, fail });
      this.#wake();
    });
  }

  dispose(): void {
    this.#flight = null;
    this.#seating.failAll(new TransomError("aborted", "The model was unloaded."));
    this.#runtime.dispose();
  }

  #wake(): void {
    if (!this.#isDriving) {
      this.#isDriving = true;
      void this.#drive();
    }
  }

  /** Serves everybody until nobody is left. */
  async #drive(): Promise<void> {
    while (this.#flight !== null || !this.#seating.isEmpty) {
      try {
        await this.#turn();
      } catch (error) {
        this.#flight = null;
        this.#seating.failAll(error);
      }
    }
    this.#isDriving = false;
  }

  /** One piece of work for the GPU, and what it brought. */
  async #turn(): Promise<void> {
    const seating = this.#seating;
    this.#restoreNext();
    if (this.#flight !== null) {
      await this.#continueFlight(this.#flight);
      return;
    }
    const prefilling = seating.prefilling ?? seating.seatNext();
    if (prefilling !== null) {
      await this.#prefill(prefilling);
    } else if (seating.running.length > 0) {
      this.#takeOff();
    } else {
      await this.#serveAlone();
    }
  }

  /** Nobody is seated, and who is next has not sat down. */
  async #serveAlone(): Promise<void> {
    const { next } = this.#seating;
    if (!(next instanceof Sequence)) {
      this.#seating.callNext();
      await next?.run();
    } else if (next.isBeingRestored) {
      await next.restoring;
    } else if (this.#prefixes?.saving) {
      // What is being written holds pages.
      await this.#prefixes.saving;
    } else {
      next.fail(new TransomError("internal", "The KV cache has no room for one sequence."));
    }
  }

  /** One piece of a prompt, and behind it one group of steps of those who decode. */
  async #prefill(sequence: Sequence): Promise<void> {
    const { tokenIds } = sequence;
    const seat = requireSeat(sequence);
    const othersWait = this.#seating.running.length > 0;
    const size = this.#pace.chunkSize(othersWait);
    const chunk = tokenIds.slice(seat.computed, seat.computed + size);
    const last = seat.computed + chunk.length - 1;
    const isWhole = last === tokenIds.length - 1;

    const startedAt = performance.now();
    this.#runtime.prefill(seat.slot, seat.computed, chunk);
    const ran = Promise.all([
      isWhole && sequence.wantsLogits ? this.#runtime.readLogits(0) : null,
      isWhole ? this.#runtime.chooseNext(seat.slot, last, sequence.choice) : this.#runtime.settle(),
    ]);
    if (othersWait) {
      // Heard of below; until then nobody listens.
      ran.catch(() => undefined);
      this.#takeOff();
    }
    const [logits, chosen] = await ran;
    const now = performance.now();
    this.#pace.prefilled(chunk.length, Math.max(now - startedAt, SHORTEST_MS));
    this.#flight?.begunAt(now);
    // It may have been aborted meanwhile, or had to give way.
    if (sequence.seat !== seat) {
      return;
    }
    seat.computed = last + 1;
    this.#seating.memory.share(seat);
    if (chosen !== undefined) {
      sequence.prefilled();
      this.#seating.finishPrefill(sequence);
      this.#accept(sequence, chosen, logits?.slice());
    }
  }

  /** Begin to decode with all who are ready. */
  #takeOff(): void {
    let guesses = this.#guesses();
    let steps = guesses.size > 0 ? 1 : this.#stepsAhead(0);
    const tokensOf = (one: Sequence) => steps + (guesses.get(one)?.length ?? 0);
    while (!this.#seating.reserve(tokensOf)) {
      if (steps > 1 || guesses.size > 0) {
        steps = 1;
        guesses = new Map();
      } else {
        this.#seating.pauseYoungest();
      }
    }
    const { running } = this.#seating;
    if (running.length > 0) {
      const flight = new Flight(running, (one) => guesses.get(one) ?? []);
      flight.add(this.#runtime.step(flight.rows, steps), steps);
      this.#flight = flight;
    }
  }

  /** Keep the GPU busy and take in what a group of steps has brought. */
  async #continueFlight(flight: Flight): Promise<void> {
    const isDrafting = flight.members.some(({ sequence }) => this.#wantsDrafts(sequence));
    // Guesses are made of tokens that have been read.
    const most = this.#pace.isQuick && !isDrafting ? 2 : 1;
    while (flight.groupCount < most && this.#isSteady(flight)) {
      const steps = this.#stepsAhead(flight.stepsAhead);
      const ahead = flight.stepsAhead + steps;
      if (steps < 1 || !this.#seating.reserve(() => ahead)) {
        break;
      }
      flight.add(this.#runtime.stepOn(steps), steps);
    }
    if (flight.groupCount === 0) {
      this.#flight = null;
      return;
    }
    const { chosen, ms } = await flight.read();
    if (!flight.hasGuesses) {
      this.#pace.stepped(chosen.length, ms);
    }
    for (const member of flight.members) {
      const accepted = this.#takeIn(flight, member, chosen);
      if (member.guesses.length > 0) {
        this.#draftMeter.drafted(accepted, ms);
      } else if (member.sequence.request.drafts === "auto") {
        this.#draftMeter.plain(accepted, ms);
      }
    }
  }

  /** @returns how many tokens of a group count for a member. */
  #takeIn(flight: Flight, member: Member, chosen: Chosen[][]): number {
    const { sequence, row, guesses } = member;
    const tokens =
      guesses.length === 0
        ? chosen.map((step) => step[row])
        : (chosen[0]?.slice(row, row + 1 + guesses.length) ?? []);
    let accepted = 0;
    for (const next of tokens) {
      // What comes after a stop, an abort or a shift is nobody's.
      if (next === undefined || flight.hasLeft(member)) {
        break;
      }
      this.#accept(sequence, next);
      accepted++;
      // What was chosen behind a wrong guess is nobody's either.
      if (guesses.length > 0 && next.tokenId !== guesses[accepted - 1]) {
        break;
      }
    }
    if (!flight.hasLeft(member)) {
      this.#seating.noteComputed(sequence);
    }
    return accepted;
  }

  /** Whether the same rows can go on without the CPU. */
  #isSteady(flight: Flight): boolean {
    const seating = this.#seating;
    return (
      seating.prefilling === null &&
      !flight.hasGuesses &&
      flight.members.length === seating.running.length &&
      flight.members.every((member) => !flight.hasLeft(member) && !member.sequence.isStepwise) &&
      !seating.canSeatNext() &&
      this.#guesses().size === 0
    );
  }

  /** Steps to do at once behind those on their way: none where no sequence could use them. */
  #stepsAhead(ahead: number): number {
    const { running } = this.#seating;
    if (running.some(({ isStepwise }) => isStepwise)) {
      return 1;
    }
    const wanted = Math.max(...running.map(({ tokensLeft }) => tokensLeft - ahead));
    const bearable = Math.min(...running.map(({ groups }) => this.#pace.steps(groups)));
    const places = Math.min(...running.map((sequence) => this.#placesLeft(sequence) - ahead));
    return Math.min(wanted, bearable, places);
  }

  /** Tokens that still fit into the window, the newest one included, which has not run yet. */
  #placesLeft({ tokenIds }: Sequence): number {
    return this.contextWindowSize + 1 - tokenIds.length;
  }

  #wantsDrafts({ request: { drafts = "off", constraint } }: Sequence): boolean {
    const isOn = drafts === "on" || (drafts === "auto" && this.#draftMeter.isWorthIt);
    // A format would have to be held to each guess before it is known to be right.
    return isOn && constraint === undefined;
  }

  /** What to judge besides the newest tokens, in rows that nobody needs. */
  #guesses(): Map<Sequence, number[]> {
    const { running } = this.#seating;
    const drafting = running.filter((sequence) => this.#wantsDrafts(sequence));
    const spare = this.#runtime.limits.maxRows - running.length;
    const each = Math.min(MOST_GUESSES, Math.floor(spare / drafting.length));
    const guesses = new Map<Sequence, number[]>();
    for (const sequence of drafting) {
      const useful = Math.min(each, sequence.tokensLeft - 1, this.#placesLeft(sequence) - 1);
      const guessed = draft(sequence.tokenIds, useful);
      if (guessed.length > 0) {
        guesses.set(sequence, guessed);
      }
    }
    return guesses;
  }

  #accept(sequence: Sequence, chosen: Chosen, logits?: Float32Array): void {
    try {
      if (sequence.accept(chosen, this.contextWindowSize, logits) === "is full") {
        this.#seating.standUp(sequence);
        sequence.shift();
        this.#seating.join(sequence);
      }
    } catch (error) {
      // What listens to it or holds it to a format has failed; the others have no part in that.
      sequence.fail(error);
    }
  }

  /** Look for what an earlier visit kept of the next one's prompt, while others decode. */
  #restoreNext(): void {
    const { next, memory } = this.#seating;
    if (!(next instanceof Sequence) || next.isLookedUp) {
      return;
    }
    const { tokenIds } = next;
    const isWorthIt = this.#prefixes?.isEnough(tokenIds.length) === true;
    next.lookUp(isWorthIt ? this.#prefixes.restore(tokenIds, memory.knownPages(tokenIds)) : null);
  }

  /** Keep the beginning of a prompt that has run: its first message, or all where none is named. */
  #keepPrefix({ seat, request }: Sequence): void {
    const { promptTokenIds, keepTokens = 0 } = request;
    const tokens = keepTokens > 0 ? keepTokens : promptTokenIds.length;
    if (seat === null || this.#prefixes?.isEnough(tokens) !== true) {
      return;
    }
    const { memory } = this.#seating;
    const count = Math.min(Math.floor(tokens / this.#runtime.limits.pageSize), seat.entered);
    const pages = memory.holdFirst(seat, count);
    const isSame = () => this.#seating.memory === memory;
    const readPage = (index: number) => {
      const page = pages[index];
      return page !== undefined && isSame() ? this.#runtime.readPage(page) : Promise.resolve(null);
    };
    void this.#prefixes.save([...seat.tokenIds], count, readPage).then(() => {
      memory.letGo(pages);
    });
  }
}
