/** Who waits, whose prompt is being run, and who decodes; who has to give way to whom. */
import { TransomError } from "../../errors.ts";
import type { BatchRuntime } from "../runtime.ts";
import { KvMemory } from "./kv-memory.ts";
import { Sequence } from "./sequence.ts";

/** Something that has the GPU for itself, once everybody before it has gone. */
export interface Errand {
  order: number;
  run: () => Promise<void>;
  fail: (error: unknown) => void;
}

export class Seating {
  readonly #runtime: BatchRuntime;
  #memory: KvMemory;
  #line: (Sequence | Errand)[] = [];
  #prefilling: Sequence | null = null;
  #running: readonly Sequence[] = [];

  constructor(runtime: BatchRuntime) {
    this.#runtime = runtime;
    this.#memory = new KvMemory(runtime);
  }

  get memory(): KvMemory {
    return this.#memory;
  }

  get isEmpty(): boolean {
    return this.#line.length === 0 && this.#prefilling === null && this.#running.length === 0;
  }

  /** Whose prompt is being run: one after another, so that equal prompts run once. */
  get prefilling(): Sequence | null {
    return this.#prefilling;
  }

  /** Those who decode. */
  get running(): readonly Sequence[] {
    return this.#running;
  }

  get next(): Sequence | Errand | null {
    return this.#line[0] ?? null;
  }

  join(comer: Sequence | Errand): void {
    // One that was paused came before those that have not been served yet.
    this.#line = [...this.#line, comer].sort((one, other) => one.order - other.order);
  }

  /** Take the first out of the line. */
  callNext(): Sequence | Errand | null {
    return this.#line.shift() ?? null;
  }

  canSeatNext(): boolean {
    const next = this.#nextSequence();
    return next !== null && this.#memory.hasPlace(next.tokenIds, { headroom: this.#headroom });
  }

  /** Begin with the prompt of the next in line, if there is a row and pages for it. */
  seatNext(): Sequence | null {
    const next = this.#nextSequence();
    if (next === null) {
      return null;
    }
    const { restored } = next;
    const seat = this.#memory.sit(next.tokenIds, { headroom: this.#headroom, restored });
    if (seat === null) {
      return null;
    }
    this.#line.shift();
    next.sitDown(seat);
    this.#prefilling = next;
    return next;
  }

  /** The prompt has run: it decodes from now on. */
  finishPrefill(sequence: Sequence): void {
    this.#prefilling = null;
    this.#running = [...this.#running, sequence];
  }

  /** Pages for the tokens that a step of all who decode may add. @returns false without room. */
  reserve(tokensOf: (sequence: Sequence) => number): boolean {
    return this.#running.every((sequence) => {
      const { seat, tokenIds } = sequence;
      // The newest token has not run yet.
      const tokens = tokenIds.length - 1 + tokensOf(sequence);
      return seat !== null && this.#memory.grow(seat, tokens);
    });
  }

  /** The one who came last gives its pages to the others and waits for its turn. */
  pauseYoungest(): void {
    const seated = [...this.#running, ...(this.#prefilling === null ? [] : [this.#prefilling])];
    const youngest = seated.reduce((one, other) => (one.order > other.order ? one : other));
    this.standUp(youngest);
    this.join(youngest);
  }

  /** All tokens but the last have run, and what was chosen behind an end does not count. */
  noteComputed({ seat, tokenIds }: Sequence): void {
    if (seat !== null) {
      seat.computed = tokenIds.length - 1;
      this.#memory.share(seat);
    }
  }

  standUp(sequence: Sequence): void {
    if (sequence.seat !== null) {
      this.#memory.leave(sequence.seat);
      sequence.seat = null;
    }
    this.#running = this.#running.filter((other) => other !== sequence);
    if (this.#prefilling === sequence) {
      this.#prefilling = null;
    }
  }

  /** Out of everything: it is over. */
  leave(sequence: Sequence): void {
    this.#line = this.#line.filter((other) => other !== sequence);
    if (this.#running.includes(sequence)) {
      this.noteComputed(sequence);
    }
    this.standUp(sequence);
  }

  /** Nobody knows how far the KV cache got: everybody hears of it, and it is empty from now on. */
  failAll(error: unknown): void {
    const all = [...this.#line, ...this.#running];
    if (this.#prefilling !== null) {
      all.push(this.#prefilling);
    }
    all.forEach((one) => {
      one.fail(error);
    });
    this.#line = [];
    this.#memory = new KvMemory(this.#runtime);
  }

  /** The next in line, where it may sit down as soon as there are pages. */
  #nextSequence(): Sequence | null {
    const { next } = this;
    const { maxRows, slots } = this.#runtime.limits;
    const hasRow = this.#running.length < Math.min(maxRows, slots);
    return next instanceof Sequence && hasRow && !next.isBeingRestored ? next : null;
  }

  /** A page for each of the others, or they would push out who comes at once. */
  get #headroom(): number {
    return this.#running.length;
  }
}

export function requireSeat({ seat }: Sequence): NonNullable<Sequence["seat"]> {
  if (seat === null) {
    throw new TransomError("internal", "A sequence was to be run that has no place.");
  }
  return seat;
}
