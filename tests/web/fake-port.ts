/** A message port in one piece: what is posted is kept, what comes is dispatched at once. */
export class FakePort<Incoming, Outgoing> {
  readonly posted: Outgoing[] = [];
  readonly #listeners = new Map<string, ((event: { data: Incoming }) => void)[]>();

  postMessage(message: Outgoing): void {
    this.posted.push(message);
  }

  addEventListener(type: string, listener: (event: { data: Incoming }) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  receive(data: Incoming): void {
    this.#dispatch("message", { data });
  }

  /** The other end has gone. */
  lose(): void {
    this.#dispatch("close", { data: undefined as Incoming });
  }

  #dispatch(type: string, event: { data: Incoming }): void {
    for (const listener of this.#listeners.get(type) ?? []) {
      listener(event);
    }
  }
}
