/**
 * Facts that cost a request each: asked for when somebody looks, one after another, and then kept.
 * No DOM.
 */

/** Many models on one screen must not make a slow host slower. */
const AT_ONCE = 1;

export class AskedFacts<T> {
  readonly #ask: (key: string) => Promise<T>;
  readonly #onChange: (facts: ReadonlyMap<string, T>) => void;
  #facts: ReadonlyMap<string, T> = new Map();
  /** Whether it has come, or is on its way; false: it could not be had. */
  readonly #wanted = new Map<string, boolean>();
  /** The one wanted last is asked first: it is what somebody looks at now. */
  readonly #waiting: string[] = [];
  #running = 0;

  /** @param ask what it throws is not kept: whoever wants it later asks again. */
  constructor(
    ask: (key: string) => Promise<T>,
    onChange: (facts: ReadonlyMap<string, T>) => void = () => undefined,
  ) {
    this.#ask = ask;
    this.#onChange = onChange;
  }

  get all(): ReadonlyMap<string, T> {
    return this.#facts;
  }

  want(key: string): void {
    if (this.#wanted.get(key) !== true) {
      this.#wanted.set(key, true);
      this.#waiting.push(key);
      this.#next();
    }
  }

  /** They may be others now: all that was ever wanted is asked once more, and stays until then. */
  again(): void {
    this.#waiting.splice(0, Infinity, ...this.#wanted.keys());
    this.#next();
  }

  #next(): void {
    const key = this.#running < AT_ONCE ? this.#waiting.pop() : undefined;
    if (key === undefined) {
      return;
    }
    this.#running += 1;
    this.#ask(key)
      .then(
        (fact) => {
          this.#facts = new Map([...this.#facts, [key, fact]]);
          this.#wanted.set(key, true);
        },
        () => {
          this.#facts = new Map([...this.#facts].filter(([each]) => each !== key));
          this.#wanted.set(key, false);
        },
      )
      .finally(() => {
        this.#onChange(this.#facts);
        this.#running -= 1;
        this.#next();
      });
  }
}
