/**
 * What hosts said of models that this browser keeps: for the day on which the host is away. It stands in
 * this origin's `localStorage`, and people may change it there: nothing is decided by it.
 */
import type { ModelRow } from "../api-protocol.ts";

export type KeptFact = Pick<ModelRow, "created" | "bytes" | "details" | "capabilities"> & {
  /** `sha256:…` of the model's index, of which all this was said. */
  digest: string;
  /** SPDX expression; null: nobody said. */
  license: string | null;
};

const KEY = "transom-model-facts";
/** A disk full of models has fewer, and a browser gives 5 MB. */
const MAX_MODELS = 500;
/** Details are a few words each. */
const MAX_TEXT_LENGTH = 200;
const MAX_WORDS = 20;

type Facts = Readonly<Record<string, KeptFact>>;

export class KeptFacts {
  readonly #storage: Pick<Storage, "getItem" | "setItem">;
  #read: { text: string | null; facts: Facts } | null = null;

  constructor(storage: Pick<Storage, "getItem" | "setItem"> = pageStorage()) {
    this.#storage = storage;
  }

  /** @param digest of the index that is here; null: nobody knows, and any will do. */
  find(id: string, digest: string | null): KeptFact | null {
    const facts = this.#all();
    const fact = Object.hasOwn(facts, id) ? facts[id] : undefined;
    return fact !== undefined && (digest === null || fact.digest === digest) ? fact : null;
  }

  /**
   * @param said by the ids of models, which this browser keeps.
   * @param stored ids of all that it keeps: what others were is forgotten.
   */
  keep(said: ReadonlyMap<string, KeptFact>, stored: ReadonlySet<string>): void {
    const before = this.#all();
    const rows = Object.entries(before).filter(([id]) => stored.has(id) && !said.has(id));
    const facts = Object.fromEntries([...rows, ...said].slice(-MAX_MODELS));
    const text = JSON.stringify(facts);
    if (text === JSON.stringify(before)) {
      return;
    }
    try {
      this.#storage.setItem(KEY, text);
    } catch {
      // It is known while the host answers.
    }
  }

  #all(): Facts {
    let text: string | null;
    try {
      text = this.#storage.getItem(KEY);
    } catch {
      return {};
    }
    // Lists are asked for often.
    const read = this.#read?.text === text ? this.#read : { text, facts: parse(text) };
    this.#read = read;
    return read.facts;
  }
}

/** Rows that are none are left out; so is all of a text that is no JSON. */
function parse(text: string | null): Facts {
  let value: unknown;
  try {
    value = JSON.parse(text ?? "{}");
  } catch {
    return {};
  }
  const rows = Object.entries(dictOf(value)).slice(-MAX_MODELS);
  return Object.fromEntries(
    rows.flatMap(([id, row]) => {
      const { digest, created, bytes, details, capabilities, license } = dictOf(row);
      return typeof digest !== "string"
        ? []
        : [
            [
              id,
              {
                digest,
                created: countOf(created),
                bytes: countOf(bytes),
                details: detailsOf(details),
                capabilities: wordsOf(capabilities),
                license: typeof license === "string" ? license.slice(0, MAX_TEXT_LENGTH) : null,
              },
            ] as const,
          ];
    }),
  );
}

function detailsOf(value: unknown): ModelRow["details"] {
  return Object.fromEntries(
    Object.entries(dictOf(value))
      .slice(0, MAX_WORDS)
      .flatMap(([key, each]): [string, string | number | readonly string[] | null][] =>
        typeof each === "string"
          ? [[key, each.slice(0, MAX_TEXT_LENGTH)]]
          : typeof each === "number" || each === null
            ? [[key, each]]
            : Array.isArray(each)
              ? [[key, wordsOf(each)]]
              : [],
      ),
  );
}

function wordsOf(value: unknown): string[] {
  return (Array.isArray(value) ? value : [])
    .slice(0, MAX_WORDS)
    .filter((word): word is string => typeof word === "string")
    .map((word) => word.slice(0, MAX_TEXT_LENGTH));
}

function countOf(value: unknown): number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : 0;
}

function dictOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

/** A browser that keeps nothing throws at the mere mention; elsewhere there is none. */
function pageStorage(): Pick<Storage, "getItem" | "setItem"> {
  try {
    return (
      (globalThis as Partial<Pick<Window, "localStorage">>).localStorage ?? {
        getItem: () => null,
        setItem: () => undefined,
      }
    );
  } catch {
    return { getItem: () => null, setItem: () => undefined };
  }
}
