/** Rate and time left of a task, whose steps count bytes each by itself. */
import { Rate } from "../../rate.ts";
import type { Task } from "./models-types.ts";

export class TaskPace {
  readonly #now: () => number;
  #step = "";
  #phase = "";
  #totalBytes: number | null = null;
  #rate: Rate;

  /** @param now seconds on a clock that never goes back. */
  constructor(now: () => number = () => performance.now() / 1000) {
    this.#now = now;
    this.#rate = new Rate(now);
  }

  /** What a change of the task says about its pace. */
  after(what: Partial<Task>): Pick<Task, "bytesPerSecond" | "secondsLeft"> {
    const { step = this.#step, phase = this.#phase, totalBytes = this.#totalBytes } = what;
    if (step !== this.#step || phase !== this.#phase) {
      this.#rate = new Rate(this.#now);
    }
    [this.#step, this.#phase, this.#totalBytes] = [step, phase, totalBytes];
    const { doneBytes = null } = what;
    if (doneBytes === null) {
      return { bytesPerSecond: 0, secondsLeft: null };
    }
    this.#rate.sample(doneBytes);
    const bytesPerSecond = this.#rate.perSecond();
    const isKnown = bytesPerSecond > 0 && totalBytes !== null;
    const secondsLeft = isKnown ? Math.max(0, totalBytes - doneBytes) / bytesPerSecond : null;
    return { bytesPerSecond, secondsLeft };
  }
}
