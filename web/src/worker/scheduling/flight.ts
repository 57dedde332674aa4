/** Groups of decode steps that are on their way to the GPU and back, and who takes part in them. */
import type { Chosen, Row } from "../runtime.ts";
import type { Seat } from "./kv-memory.ts";
import type { Sequence } from "./sequence.ts";

export interface Member {
  sequence: Sequence;
  seat: Seat;
  /** Its first row: its newest token; a row for each guess follows. */
  row: number;
  /** Tokens that may come next, judged in the same step. */
  guesses: readonly number[];
}

/** Browsers' clocks are coarse; nothing takes no time. */
export const SHORTEST_MS = 0.1;

interface Group {
  chosen: Promise<Chosen[][]>;
  steps: number;
  queuedAt: number;
}

export class Flight {
  readonly members: readonly Member[];
  readonly rows: readonly Row[];
  readonly #groups: Group[] = [];
  /** When the GPU turned to the oldest group, where it had something else to do before. */
  #begunAt = 0;

  /** @param guessesOf what to judge of a sequence besides its newest token. */
  constructor(
    sequences: readonly Sequence[],
    guessesOf: (sequence: Sequence) => readonly number[],
  ) {
    const members: Member[] = [];
    const rows: Row[] = [];
    for (const sequence of sequences) {
      const { seat, tokenIds, choice } = sequence;
      const newest = tokenIds.at(-1);
      if (seat === null || newest === undefined) {
        continue;
      }
      const guesses = guessesOf(sequence);
      members.push({ sequence, seat, row: rows.length, guesses });
      [newest, ...guesses].forEach((tokenId, offset) => {
        rows.push({ slot: seat.slot, position: tokenIds.length - 1 + offset, tokenId, choice });
      });
    }
    this.members = members;
    this.rows = rows;
  }

  get groupCount(): number {
    return this.#groups.length;
  }

  /** Steps that were begun and not read yet. */
  get stepsAhead(): number {
    return this.#groups.reduce((sum, { steps }) => sum + steps, 0);
  }

  get hasGuesses(): boolean {
    return this.rows.length > this.members.length;
  }

  /** Whether somebody is over or had to stand up since it began. */
  hasLeft({ sequence, seat }: Member): boolean {
    return sequence.seat !== seat;
  }

  add(chosen: Promise<Chosen[][]>, steps: number): void {
    // Read in turn; one that fails before that is heard of then.
    chosen.catch(() => undefined);
    this.#groups.push({ chosen, steps, queuedAt: performance.now() });
    for (const { sequence } of this.members) {
      sequence.groups++;
    }
  }

  /** Until now the GPU was busy with something else. */
  begunAt(now: number): void {
    this.#begunAt = now;
  }

  /** What the oldest group chose, and the time that the GPU took for it. */
  async read(): Promise<{ chosen: Chosen[][]; ms: number }> {
    const [group] = this.#groups;
    if (group === undefined) {
      return { chosen: [], ms: 0 };
    }
    const chosen = await group.chosen;
    this.#groups.shift();
    const now = performance.now();
    const ms = Math.max(now - Math.max(group.queuedAt, this.#begunAt), SHORTEST_MS);
    this.#begunAt = now;
    return { chosen, ms };
  }
}
