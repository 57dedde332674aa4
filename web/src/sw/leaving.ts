/**
 * The end of this service worker: the visitor has called a newer build. Browsers let that begin when this
 * one has nothing to do, so what is on its way ends and what comes is refused. Knows no events.
 */

/** A newer build that has not begun by then does not begin soon; somebody has to answer. */
const LEAVING_MILLISECONDS = 30_000;

export class Leaving {
  readonly #milliseconds: number;
  #end = new AbortController();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(milliseconds: number = LEAVING_MILLISECONDS) {
    this.#milliseconds = milliseconds;
  }

  /** Aborted from `begin` on, until it goes on; then there is another one. */
  get signal(): AbortSignal {
    return this.#end.signal;
  }

  begin(): void {
    this.#end.abort(new DOMException("A newer build of the page takes over.", "AbortError"));
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#end = new AbortController();
    }, this.#milliseconds);
  }
}
