/**
 * Beginnings of prompts kept beyond this visit, so that a long system prompt is run once ever.
 *
 * A page is kept under a key that names the model and every token to the page's end: what is under
 * it is right for whoever asks, and two prompts that begin alike share what they have in common.
 */
import { digestOf } from "../../store/verify.ts";
import type { RestoredPages } from "./kv-memory.ts";

/** Where pages are kept: on disk, bounded, and of bytes that are what was saved, or nothing. */
export interface PrefixStore {
  load(key: string): Promise<Uint8Array | null>;
  /**
   * @param before the page that this one stands behind, without which nobody finds it; null: none.
   * @returns false where there is no room for it, or the one before is gone.
   */
  save(key: string, bytes: Uint8Array, before: string | null): Promise<boolean>;
  /** A text's pages, from its first one on, are used now. @returns those that are not here. */
  touch(keys: readonly string[]): readonly string[];
}

/** Fewer are run as fast as they are read. */
const FEWEST_PAGES = 4;

export class PrefixKeeper {
  readonly #store: PrefixStore;
  readonly #model: string;
  readonly #pageSize: number;
  /** Keys of what is kept for certain: neither asked for nor written again. */
  readonly #kept = new Set<string>();
  #saving: Promise<void> | null = null;

  /**
   * @param model names weights and layout of the pages; equal names must mean equal pages.
   */
  constructor(store: PrefixStore, model: string, pageSize: number) {
    this.#store = store;
    this.#model = model;
    this.#pageSize = pageSize;
  }

  /** Settles when nothing is being written; null when nothing is. */
  get saving(): Promise<void> | null {
    return this.#saving;
  }

  /** Whether so many first tokens are enough to be kept. */
  isEnough(tokens: number): boolean {
    return tokens >= FEWEST_PAGES * this.#pageSize;
  }

  /**
   * What is kept of a prompt behind its first pages, which are at hand.
   *
   * @returns null when there is nothing.
   */
  async restore(tokenIds: readonly number[], first: number): Promise<RestoredPages | null> {
    // At least one token is left to run.
    const most = Math.floor((tokenIds.length - 1) / this.#pageSize);
    const pages: Uint8Array[] = [];
    const used: string[] = [];
    for await (const [index, key] of this.#keys(tokenIds, most)) {
      used.push(key);
      if (index < first) {
        continue;
      }
      // A store that cannot be read costs time, not the answer.
      const bytes = await this.#store.load(key).catch(() => null);
      if (bytes === null) {
        break;
      }
      this.#kept.add(key);
      pages.push(bytes);
    }
    this.#touch(used);
    return pages.length === 0 ? null : { first, pages };
  }

  /**
   * Write pages that are not kept yet, behind what is being written already.
   *
   * @param readPage the bytes of a page; null ends it.
   */
  save(
    tokenIds: readonly number[],
    count: number,
    readPage: (index: number) => Promise<Uint8Array | null>,
  ): Promise<void> {
    const saved = (this.#saving ?? Promise.resolve())
      // A full disk, or one that is gone, is nobody's business: the pages are run again then.
      .then(() => this.#write(tokenIds, count, readPage).catch(() => undefined))
      .then(() => {
        if (this.#saving === saved) {
          this.#saving = null;
        }
      });
    this.#saving = saved;
    return saved;
  }

  async #write(
    tokenIds: readonly number[],
    count: number,
    readPage: (index: number) => Promise<Uint8Array | null>,
  ): Promise<void> {
    const keys: string[] = [];
    for await (const [, key] of this.#keys(tokenIds, count)) {
      keys.push(key);
    }
    this.#touch(keys);
    for (const [index, key] of keys.entries()) {
      if (!this.#kept.has(key)) {
        const bytes = await readPage(index);
        if (bytes === null || !(await this.#store.save(key, bytes, keys[index - 1] ?? null))) {
          return;
        }
        this.#kept.add(key);
      }
    }
  }

  /** What had to go since may be written again. */
  #touch(keys: readonly string[]): void {
    for (const key of this.#store.touch(keys)) {
      this.#kept.delete(key);
    }
  }

  /** The keys of a text's first pages, each made of the one before it. */
  async *#keys(tokenIds: readonly number[], count: number): AsyncGenerator<[number, string]> {
    let key = await this.#hash(`${this.#model} ${this.#pageSize}`);
    for (let index = 0; index < count; index++) {
      const start = index * this.#pageSize;
      key = await this.#hash(`${key} ${tokenIds.slice(start, start + this.#pageSize).join(" ")}`);
      yield [index, key];
    }
  }

  async #hash(text: string): Promise<string> {
    return digestOf(new TextEncoder().encode(text));
  }
}
