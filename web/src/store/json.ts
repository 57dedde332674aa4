/**
 * Typed reading of JSON that came from outside: every step says which field was wrong.
 *
 * Unlike a cast, a `Reader` never lets a value through that has another type than the code
 * believes. It knows no format; formats are in the files that use it.
 */

export type Fail = (message: string) => Error;

/** A JSON value with the path that led to it, for error messages. */
export class Reader {
  readonly #value: unknown;
  readonly #path: string;
  readonly #fail: Fail;

  constructor(value: unknown, path: string, fail: Fail) {
    this.#value = value;
    this.#path = path;
    this.#fail = fail;
  }

  /** Parse UTF-8 JSON bytes; malformed UTF-8 or JSON is an error, not a guess. */
  static parse(bytes: Uint8Array, name: string, fail: Fail): Reader {
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
      return new Reader(JSON.parse(text), name, fail);
    } catch {
      throw fail(`${name} is not valid JSON in UTF-8.`);
    }
  }

  error(message: string): Error {
    return this.#fail(`${this.#path} ${message}.`);
  }

  get isMissing(): boolean {
    return this.#value === undefined || this.#value === null;
  }

  field(key: string): Reader {
    const object = this.#object();
    const value = Object.hasOwn(object, key) ? object[key] : undefined;
    return new Reader(value, `${this.#path}: ${key}`, this.#fail);
  }

  string(maxLength: number): string {
    if (typeof this.#value !== "string") {
      throw this.error("must be a string");
    }
    if (this.#value.length > maxLength) {
      throw this.error(`is longer than ${maxLength} characters`);
    }
    return this.#value;
  }

  /** A whole number in [min, max]. */
  integer(min: number, max: number): number {
    if (!Number.isSafeInteger(this.#value)) {
      throw this.error("must be a whole number");
    }
    return this.#inRange(this.#value as number, min, max);
  }

  /** A finite number in [min, max]. */
  number(min: number, max: number): number {
    if (typeof this.#value !== "number" || !Number.isFinite(this.#value)) {
      throw this.error("must be a number");
    }
    return this.#inRange(this.#value, min, max);
  }

  array(maxLength: number): Reader[] {
    if (!Array.isArray(this.#value)) {
      throw this.error("must be a list");
    }
    if (this.#value.length > maxLength) {
      throw this.error(`has more than ${maxLength} rows`);
    }
    return this.#value.map(
      (item: unknown, index) => new Reader(item, `${this.#path}[${index}]`, this.#fail),
    );
  }

  /** The names of an object's fields, in its order. */
  keys(): string[] {
    return Object.keys(this.#object());
  }

  /** An object whose values are strings. */
  stringMap(maxEntries: number, maxLength: number): Map<string, string> {
    const entries = Object.keys(this.#object());
    if (entries.length > maxEntries) {
      throw this.error(`has more than ${maxEntries} entries`);
    }
    return new Map(entries.map((key) => [key, this.field(key).string(maxLength)]));
  }

  /** The value itself, for a reader that takes it apart in its own way. */
  raw(): unknown {
    return this.#value;
  }

  #object(): Record<string, unknown> {
    if (typeof this.#value !== "object" || this.#value === null || Array.isArray(this.#value)) {
      throw this.error("must be an object");
    }
    return this.#value as Record<string, unknown>;
  }

  #inRange(value: number, min: number, max: number): number {
    if (value < min || value > max) {
      const wanted = min === max ? `${min}` : `between ${min} and ${max}`;
      throw this.error(`must be ${wanted}, not ${value}`);
    }
    return value;
  }
}
