/** Web Locks of one origin: exclusive ones, granted in the order in which they were asked for. */
interface Wanted {
  name: string;
  work: () => Promise<unknown>;
  resolve: (value: unknown) => void;
  reject: (reason: unknown) => void;
}

export class FakeLocks {
  #held: Wanted[] = [];
  #pending: Wanted[] = [];

  request(
    name: string,
    ...rest: [() => Promise<unknown>] | [{ signal?: AbortSignal }, () => Promise<unknown>]
  ): Promise<unknown> {
    const [options, work] = rest.length === 1 ? [{}, rest[0]] : rest;
    return new Promise((resolve, reject) => {
      const wanted = { name, work, resolve, reject };
      this.#pending.push(wanted);
      options.signal?.addEventListener("abort", () => {
        if (this.#pending.includes(wanted)) {
          this.#pending = this.#pending.filter((other) => other !== wanted);
          reject(new DOMException("", "AbortError"));
        }
      });
      queueMicrotask(() => {
        this.#grant();
      });
    });
  }

  query(): Promise<{ held: { name: string }[]; pending: { name: string }[] }> {
    return Promise.resolve({ held: [...this.#held], pending: [...this.#pending] });
  }

  #grant(): void {
    for (const wanted of [...this.#pending]) {
      if (this.#held.some(({ name }) => name === wanted.name) || !this.#pending.includes(wanted)) {
        continue;
      }
      this.#pending = this.#pending.filter((other) => other !== wanted);
      this.#held.push(wanted);
      void wanted
        .work()
        .then(wanted.resolve, wanted.reject)
        .then(() => {
          this.#held = this.#held.filter((other) => other !== wanted);
          this.#grant();
        });
    }
  }
}
