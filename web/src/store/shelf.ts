/**
 * Which models this origin keeps, and which blobs each needs.
 *
 *     model -> { digests, bytes, lastUsed, isPinned }
 *
 * Who needs a blob is counted from these records each time, so there is no counter to go wrong:
 * forgetting a model frees the blobs that no other record names. Records are a small JSON file
 * beside the blobs; changes are made under a lock that all tabs of the origin share.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "./json.ts";
import type { BlobStore } from "./store.ts";
import { type Bytes, type Digest, type Promised, isDigest } from "./verify.ts";

/** A disk full of the smallest models has fewer. */
const MAX_MODELS = 10_000;
const MAX_NAME_LENGTH = 1024;
/** OCI allows no more layers in a manifest than fit its size. */
const MAX_BLOBS = 100_000;

export interface ModelRecord {
  name: string;
  /** Each once. */
  blobs: readonly Promised[];
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Kept when room is made for others. */
  isPinned: boolean;
}

/** Runs `work` while nobody else, in any tab, runs theirs. */
export type Alone = <T>(work: () => Promise<T>) => Promise<T>;

/** Bytes that this origin may use, and uses. */
export interface Room {
  quotaBytes: number;
  usedBytes: number;
}

export interface ModelSize {
  name: string;
  totalBytes: number;
  /** Of them, those that go when the model goes. */
  ownBytes: number;
  lastUsed: number;
  isPinned: boolean;
}

export class Shelf {
  readonly #blobs: BlobStore;
  readonly #alone: Alone;
  readonly #now: () => number;

  constructor(blobs: BlobStore, alone: Alone, now: () => number) {
    this.#blobs = blobs;
    this.#alone = alone;
    this.#now = now;
  }

  /**
   * A model is used now, and needs these blobs; what an older version of it needed goes. Said before
   * the first blob is fetched.
   */
  use(name: string, blobs: readonly Promised[]): Promise<void> {
    return this.#alone(async () => {
      const records = await this.#read();
      const before = records.get(name);
      const isPinned = before?.isPinned ?? false;
      records.set(name, { name, blobs: distinct(blobs), lastUsed: this.#now(), isPinned });
      await this.#blobs.writeRecords(toBytes(records.values()));
      await this.#deleteUnneeded(before?.blobs ?? [], records);
    });
  }

  /** @throws TransomError `model-not-found`. */
  pin(name: string, isPinned: boolean): Promise<void> {
    return this.#alone(async () => {
      const records = await this.#read();
      records.set(name, { ...required(records, name), isPinned });
      await this.#blobs.writeRecords(toBytes(records.values()));
    });
  }

  /** Every model, the one used last first. */
  async sizes(): Promise<ModelSize[]> {
    const records = await this.#read();
    const needs = neededBy(records.values());
    return [...records.values()]
      .toSorted((one, other) => other.lastUsed - one.lastUsed)
      .map(({ name, blobs, lastUsed, isPinned }) => ({
        name,
        totalBytes: sum(blobs),
        ownBytes: sum(blobs.filter(({ digest }) => needs.get(digest) === 1)),
        lastUsed,
        isPinned,
      }));
  }

  /** Forget a model and the blobs that only it needs; the bytes freed. No error when not here. */
  async forget(name: string): Promise<number> {
    return this.#alone(async () => {
      const records = await this.#read();
      return this.#drop(records, name);
    });
  }

  /**
   * Make room for so many bytes: models that nobody used for longest go first, pinned ones never,
   * nor the one they are for.
   *
   * @throws TransomError `no-room` saying how much is missing; nothing is forgotten then.
   */
  async makeRoom(bytes: number, room: () => Promise<Room>, name: string): Promise<string[]> {
    return this.#alone(async () => {
      const records = await this.#read();
      const { quotaBytes, usedBytes } = await room();
      let missing = bytes - (quotaBytes - usedBytes);
      const leaving: string[] = [];
      const staying = new Map(records);
      const oldest = [...records.values()]
        .filter((record) => record.name !== name && !record.isPinned)
        .toSorted((one, other) => one.lastUsed - other.lastUsed);
      for (const record of oldest) {
        if (missing <= 0) {
          break;
        }
        missing -= freedBy(staying, record);
        staying.delete(record.name);
        leaving.push(record.name);
      }
      if (missing > 0) {
        throw new TransomError(
          "no-room",
          `${name} needs ${inMegabytes(bytes)} more than is kept already, and this browser gives ` +
            `${inMegabytes(missing)} too little; free disk space, or remove models that are pinned.`,
        );
      }
      for (const each of leaving) {
        await this.#drop(records, each);
      }
      return leaving;
    });
  }

  /** Bytes of these that are not here yet. */
  async missingBytes(blobs: readonly Promised[]): Promise<number> {
    const here = new Set(await this.#blobs.digests());
    return sum(distinct(blobs).filter(({ digest }) => !here.has(digest)));
  }

  /** Forget blobs that no model needs: of visits that ended before the records were written. */
  async sweep(): Promise<void> {
    await this.#alone(async () => {
      const needs = neededBy((await this.#read()).values());
      for (const digest of await this.#blobs.digests()) {
        if (!needs.has(digest)) {
          await this.#blobs.delete(digest);
        }
      }
    });
  }

  async #drop(records: Map<string, ModelRecord>, name: string): Promise<number> {
    const record = records.get(name);
    if (record === undefined) {
      return 0;
    }
    const freed = freedBy(records, record);
    records.delete(name);
    // First the record: a blob without one is swept, a record without its blob is only downloaded.
    await this.#blobs.writeRecords(toBytes(records.values()));
    await this.#deleteUnneeded(record.blobs, records);
    return freed;
  }

  async #deleteUnneeded(
    blobs: readonly Promised[],
    records: ReadonlyMap<string, ModelRecord>,
  ): Promise<void> {
    const needs = neededBy(records.values());
    for (const { digest } of blobs) {
      if (!needs.has(digest)) {
        await this.#blobs.delete(digest);
      }
    }
  }

  async #read(): Promise<Map<string, ModelRecord>> {
    const bytes = await this.#blobs.readRecords();
    try {
      const records = bytes === null ? [] : fromBytes(bytes);
      return new Map(records.map((record) => [record.name, record]));
    } catch {
      // A damaged list is an empty one: models are found again when they are used.
      return new Map();
    }
  }
}

function required(records: ReadonlyMap<string, ModelRecord>, name: string): ModelRecord {
  const record = records.get(name);
  if (record === undefined) {
    throw new TransomError("model-not-found", `${name} is not kept in this browser.`);
  }
  return record;
}

/** How many models need each blob. */
function neededBy(records: Iterable<ModelRecord>): Map<Digest, number> {
  const needs = new Map<Digest, number>();
  for (const { blobs } of records) {
    for (const { digest } of blobs) {
      needs.set(digest, (needs.get(digest) ?? 0) + 1);
    }
  }
  return needs;
}

function freedBy(records: ReadonlyMap<string, ModelRecord>, record: ModelRecord): number {
  const needs = neededBy(records.values());
  return sum(record.blobs.filter(({ digest }) => needs.get(digest) === 1));
}

function distinct(blobs: readonly Promised[]): Promised[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

function sum(blobs: readonly Promised[]): number {
  return blobs.reduce((bytes, { size }) => bytes + size, 0);
}

function inMegabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}

function toBytes(records: Iterable<ModelRecord>): Bytes {
  const models = [...records].map(({ name, blobs, lastUsed, isPinned }) => ({
    name,
    lastUsed,
    isPinned: isPinned ? 1 : 0,
    blobs: blobs.map(({ digest, size }) => ({ digest, size })),
  }));
  return new TextEncoder().encode(JSON.stringify({ models }));
}

function fromBytes(bytes: Bytes): ModelRecord[] {
  const fail = (message: string) => new TransomError("internal", message);
  const root = Reader.parse(bytes, "the list of models", fail);
  return root
    .field("models")
    .array(MAX_MODELS)
    .map((row) => ({
      name: row.field("name").string(MAX_NAME_LENGTH),
      lastUsed: row.field("lastUsed").integer(0, Number.MAX_SAFE_INTEGER),
      isPinned: row.field("isPinned").integer(0, 1) === 1,
      blobs: row
        .field("blobs")
        .array(MAX_BLOBS)
        .map((blob) => {
          const digest = blob.field("digest").string(MAX_NAME_LENGTH);
          if (!isDigest(digest)) {
            throw blob.field("digest").error("is no digest");
          }
          return { digest, size: blob.field("size").integer(0, Number.MAX_SAFE_INTEGER) };
        }),
    }));
}
