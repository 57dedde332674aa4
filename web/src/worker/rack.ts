/**
 * The models that an engine has on its GPU, within a memory budget.
 *
 * The one that was used least recently goes first when another needs its place; one that answers,
 * or is being loaded, never goes. Knows sizes, names and how to let go of a model; nothing of GPUs.
 */
import { TransomError } from "../errors.ts";
import { inMegabytes } from "../figures.ts";

interface Place<T> {
  gpuBytes: number;
  /** Null while it is being loaded. */
  model: T | null;
  /** Requests that run on it. */
  running: number;
  /** Larger is later. */
  lastUsed: number;
  lastLoaded: number;
}

export class Rack<T extends { dispose(): void }> {
  readonly #places = new Map<string, Place<T>>();
  #clock = 0;

  /**
   * Take a place for a model that will be loaded. Give it back with `fill` or `release`.
   *
   * @param isForced take it even where all others together are not enough.
   * @returns the models that had to leave for it.
   * @throws TransomError `busy` when what would have to leave is answering, or the name is taken by
   *   one that is; `out-of-memory` when the budget is too small for it alone.
   */
  reserve(name: string, gpuBytes: number, budgetBytes: number, isForced = false): string[] {
    const same = this.#places.get(name);
    if (same !== undefined && !isIdle(same)) {
      throw new TransomError("busy", `${name} is busy; stop its answers before loading it again.`);
    }
    const leaving = same === undefined ? [] : [name];
    const oldest = [...this.#places]
      .filter(([other, place]) => other !== name && isIdle(place))
      .toSorted(([, one], [, other]) => one.lastUsed - other.lastUsed);
    let total = gpuBytes + this.#gpuBytes() - (same?.gpuBytes ?? 0);
    for (const [other, place] of oldest) {
      if (total <= budgetBytes) {
        break;
      }
      total -= place.gpuBytes;
      leaving.push(other);
    }
    if (total > budgetBytes && !isForced) {
      throw this.#tooMuch(name, gpuBytes, budgetBytes);
    }
    for (const other of leaving) {
      this.#drop(other);
    }
    this.#places.set(name, { gpuBytes, model: null, running: 0, lastUsed: 0, lastLoaded: 0 });
    return leaving.filter((other) => other !== name);
  }

  /** The model that a place was reserved for is there. */
  fill(name: string, model: T): void {
    const place = this.#places.get(name);
    if (place !== undefined) {
      place.model = model;
      place.lastUsed = place.lastLoaded = ++this.#clock;
    }
  }

  /** It is there already, and asked for again: it counts as loaded now. Null when it is not. */
  again(name: string): T | null {
    const place = this.#places.get(name);
    if (place?.model === undefined || place.model === null) {
      return null;
    }
    place.lastUsed = place.lastLoaded = ++this.#clock;
    return place.model;
  }

  /** It did not come. */
  release(name: string): void {
    if (this.#places.get(name)?.model === null) {
      this.#places.delete(name);
    }
  }

  /**
   * Run something on a model, which stays meanwhile.
   *
   * @param name the one loaded last if undefined.
   * @throws TransomError `not-loaded`.
   */
  async use<R>(name: string | undefined, work: (model: T) => Promise<R>): Promise<R> {
    const place = this.#find(name);
    const { model } = place;
    if (model === null) {
      throw new TransomError("not-loaded", "The model is still being loaded.");
    }
    place.running++;
    place.lastUsed = ++this.#clock;
    try {
      return await work(model);
    } finally {
      place.running--;
      place.lastUsed = ++this.#clock;
    }
  }

  /** @throws TransomError `busy` while it answers; no error when it is not here. */
  unload(name: string): void {
    const place = this.#places.get(name);
    if (place !== undefined && !isIdle(place)) {
      throw new TransomError("busy", `${name} is busy; stop its answers before unloading it.`);
    }
    this.#drop(name);
  }

  #find(name: string | undefined): Place<T> {
    if (name !== undefined) {
      const place = this.#places.get(name);
      if (place === undefined) {
        const here = [...this.#places.keys()].join(", ") || "none";
        throw new TransomError("not-loaded", `${name} is not loaded (loaded: ${here}).`);
      }
      return place;
    }
    const [last] = [...this.#places.values()]
      .filter(({ model }) => model !== null)
      .toSorted((one, other) => other.lastLoaded - one.lastLoaded);
    if (last === undefined) {
      throw new TransomError("not-loaded", "No model is loaded yet.");
    }
    return last;
  }

  #gpuBytes(): number {
    return [...this.#places.values()].reduce((sum, { gpuBytes }) => sum + gpuBytes, 0);
  }

  #drop(name: string): void {
    const place = this.#places.get(name);
    this.#places.delete(name);
    place?.model?.dispose();
  }

  #tooMuch(name: string, gpuBytes: number, budgetBytes: number): TransomError {
    const needs = `${name} takes about ${inMegabytes(gpuBytes)} of graphics memory`;
    if (gpuBytes > budgetBytes) {
      return new TransomError(
        "out-of-memory",
        `${needs}, more than the ${inMegabytes(budgetBytes)} that there are for models.`,
      );
    }
    const busy = [...this.#places].filter(([, place]) => !isIdle(place)).map(([each]) => each);
    return new TransomError(
      "busy",
      `${needs}; ${busy.join(" and ")} would have to leave, but ${busy.length === 1 ? "is" : "are"} ` +
        "busy. Wait, or stop the answers.",
    );
  }
}

function isIdle<T>({ model, running }: Place<T>): boolean {
  return model !== null && running === 0;
}
