/** The browser's Cache API, in memory: the part of it that we use, and what it refuses. */

/** Of a page in a folder: an entry's address is resolved against the page's. */
const PAGE = "http://host/app/";

export class FakeCaches {
  readonly #caches = new Map<string, FakeCache>();
  /** Bytes that it takes, all entries together. */
  quotaBytes = Infinity;

  open(name: string): Promise<FakeCache> {
    let cache = this.#caches.get(name);
    if (cache === undefined) {
      cache = new FakeCache((bytes) => this.#usedBytes() + bytes <= this.quotaBytes);
      this.#caches.set(name, cache);
    }
    return Promise.resolve(cache);
  }

  #usedBytes(): number {
    return [...this.#caches.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  }
}

class FakeCache {
  readonly #entries = new Map<string, Blob>();
  readonly #hasRoom: (bytes: number) => boolean;

  constructor(hasRoom: (bytes: number) => boolean) {
    this.#hasRoom = hasRoom;
  }

  get bytes(): number {
    return [...this.#entries.values()].reduce((sum, { size }) => sum + size, 0);
  }

  match(address: string): Promise<Response | undefined> {
    const body = this.#entries.get(resolve(address));
    return Promise.resolve(body === undefined ? undefined : new Response(body));
  }

  /** The body is read to its end first: an entry is there as a whole, or as it was before. */
  async put(address: string, response: Response): Promise<void> {
    const key = resolve(address);
    const body = await response.blob();
    if (!this.#hasRoom(body.size - (this.#entries.get(key)?.size ?? 0))) {
      throw new DOMException("no room", "QuotaExceededError");
    }
    this.#entries.set(key, body);
  }

  delete(address: string): Promise<boolean> {
    return Promise.resolve(this.#entries.delete(resolve(address)));
  }

  keys(): Promise<Request[]> {
    return Promise.resolve([...this.#entries.keys()].map((address) => new Request(address)));
  }
}

function resolve(address: string): string {
  return new URL(address, PAGE).href;
}
