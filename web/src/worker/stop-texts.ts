/** Looks for texts that end an answer in text that comes in pieces. Pure. */

export class StopTexts {
  readonly #stops: readonly string[];
  #held = "";

  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /**
   * The part of the answer that is certain now: what may begin a stop text is held back. At the
   * end, where one was found (`stop`), neither it nor what follows is part of the answer.
   */
  push(text: string): { text: string; stop: string | null } {
    const whole = this.#held + text;
    const found = this.#firstStop(whole);
    const kept = found === null ? this.#beginsStop(whole) : 0;
    this.#held = whole.slice(whole.length - kept);
    return {
      text: whole.slice(0, found?.place ?? whole.length - kept),
      stop: found?.stop ?? null,
    };
  }

  /** What was held back, once no more text comes. */
  finish(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }

  /** The stop text that begins first, of several at one place the one named first. */
  #firstStop(text: string): { stop: string; place: number } | null {
    const [first] = this.#stops
      .map((stop) => ({ stop, place: text.indexOf(stop) }))
      .filter(({ place }) => place >= 0)
      .toSorted((one, other) => one.place - other.place);
    return first ?? null;
  }

  /** How many characters at the end are the beginning of a stop text. */
  #beginsStop(text: string): number {
    let most = 0;
    for (const stop of this.#stops) {
      for (let length = Math.min(stop.length - 1, text.length); length > most; length--) {
        if (text.endsWith(stop.slice(0, length))) {
          most = length;
        }
      }
    }
    return most;
  }
}
