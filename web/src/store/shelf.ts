/**
 * Which models this origin keeps, and which blobs each needs.
 *
 *     model -> { name, digests, bytes, lastUsed, isPinned, index, former }
 *
 * Who needs a blob is counted from these records each time, so there is no counter to go wrong:
 * forgetting a model frees the blobs that no other record names. Records are a small JSON file
 * beside the blobs (`shelf-records.ts`); changes are made under a lock that all tabs of the origin
 * share. A model that some tab is loading is neither forgotten nor pushed out.
 *
 * A newer version of a model comes in beside the one that was wholly here, its `former` one, which
 * opens without the host until the newer one is wholly here, too. Then `sweep` lets go of it.
 */
import { TransomError } from "../errors.ts";
import { inMegabytes } from "../figures.ts";
import {
  type ModelName,
  type ModelRecord,
  type Version,
  fromBytes,
  toBytes,
} from "./shelf-records.ts";
import type { BlobStore, Held } from "./store.ts";
import type { Digest, Promised } from "./verify.ts";

/** What all tabs of an origin tell each other. */
export interface Tabs {
  /** Runs `work` while nobody else, in any tab, runs theirs. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Runs `work` while everybody sees that this model is in use. */
  using<T>(id: string, work: () => Promise<T>): Promise<T>;
  /** The ids of models that are in use, in any tab, and by how many. */
  inUse(): Promise<ReadonlyMap<string, number>>;
}

/** Bytes that this origin may use, and uses. */
export interface Room {
  quotaBytes: number;
  usedBytes: number;
}

export interface ModelSize extends ModelName {
  /** With the former version's, while there is one. */
  totalBytes: number;
  /** Of them, those that are here. */
  storedBytes: number;
  /** Of those, what stays when the model goes, because others need it. */
  sharedBytes: number;
  lastUsed: number;
  isPinned: boolean;
  isInUse: boolean;
  /** Its digest; null as in `ModelRecord`. */
  index: Digest | null;
}

type Records = Map<string, ModelRecord>;

export class Shelf {
  readonly #blobs: BlobStore;
  readonly #tabs: Tabs;
  readonly #now: () => number;

  constructor(blobs: BlobStore, tabs: Tabs, now: () => number) {
    this.#blobs = blobs;
    this.#tabs = tabs;
    this.#now = now;
  }

  /**
   * A model is used now, and needs these blobs. Said before the first of them is fetched, by whoever
   * counts as `using` it. What an older version of it needed stays while that is its `former` one,
   * else it goes.
   *
   * @param room to make room for what is to come: the model's own former version goes first, then
   *   models that nobody used for longest; pinned ones never, nor those in use.
   * @returns the names of models that went.
   * @throws TransomError `no-room` saying how much is missing; all is as it was then.
   */
  use(
    { id, name }: ModelName,
    blobs: readonly Promised[],
    index: Digest | null = null,
    room: (() => Promise<Room>) | null = null,
  ): Promise<string[]> {
    return this.#tabs.alone(async () => {
      const before = await this.#read();
      const own = before.get(id);
      const held = await this.#blobs.list();
      const inUse = await this.#tabs.inUse();
      // Besides whoever asks: what they load stays, whichever version that is. A sweep has it later.
      const loading = own !== undefined && (inUse.get(id) ?? 0) > 1 ? [own] : [];
      const version = { blobs: distinct(blobs), index };
      const former = formerOf(own, held);
      const record = {
        ...{ id, name, ...version, lastUsed: this.#now(), isPinned: own?.isPinned ?? false },
        former: loading.length === 0 && isHere(version, held) ? null : former,
      };
      const after = new Map(before).set(id, record);
      const removed =
        room === null ? [] : makeRoom(before, after, record, loading, inUse, held, await room());
      await this.#change(before, after, loading);
      return removed;
    });
  }

  /** What is recorded of a model, which is used now; null when it is not here. */
  useAgain(id: string): Promise<ModelRecord | null> {
    return this.#tabs.alone(async () => {
      const records = await this.#read();
      const before = records.get(id);
      if (before === undefined) {
        return null;
      }
      const record = { ...before, lastUsed: this.#now() };
      records.set(id, record);
      await this.#blobs.writeRecords(toBytes(records.values()));
      return record;
    });
  }

  /**
   * What opens of a model without its host: its newest version that is wholly here, else what is on
   * its way; null when nothing is.
   */
  async newest(id: string): Promise<Version | null> {
    const record = (await this.#read()).get(id);
    if (record === undefined) {
      return null;
    }
    return formerOf(record, await this.#blobs.list()) ?? record;
  }

  /** @throws TransomError `model-not-found`. */
  pin(id: string, isPinned: boolean): Promise<void> {
    return this.#tabs.alone(async () => {
      const records = await this.#read();
      records.set(id, { ...required(records, id), isPinned });
      await this.#blobs.writeRecords(toBytes(records.values()));
    });
  }

  /** Every model, the one used last first. */
  async sizes(): Promise<ModelSize[]> {
    const records = await this.#read();
    const needs = neededBy(records.values());
    const here = bytesHere(await this.#blobs.list());
    const inUse = await this.#tabs.inUse();
    return [...records.values()]
      .toSorted((one, other) => other.lastUsed - one.lastUsed)
      .map((record) => {
        const { id, name, lastUsed, isPinned, index } = record;
        const blobs = blobsOf(record);
        const digests = blobs.map(({ digest }) => digest);
        return {
          id,
          name,
          totalBytes: blobs.reduce((bytes, { size }) => bytes + size, 0),
          storedBytes: bytesOf(digests, here),
          sharedBytes: bytesOf(
            digests.filter((digest) => (needs.get(digest) ?? 0) > 1),
            here,
          ),
          lastUsed,
          isPinned,
          isInUse: inUse.has(id),
          index,
        };
      });
  }

  /**
   * Forget a model and the blobs that only it needs; the bytes freed. No error when not here.
   *
   * @param keepsFormer forget only what was to come: where there is a former version, it stays.
   * @throws TransomError `busy` while a tab loads it.
   */
  async forget(id: string, keepsFormer = false): Promise<number> {
    return this.#tabs.alone(async () => {
      const before = await this.#read();
      if ((await this.#tabs.inUse()).has(id)) {
        throw new TransomError(
          "busy",
          `${before.get(id)?.name ?? id} is being loaded, here or in another tab; wait until it ` +
            "is ready.",
        );
      }
      const after = new Map(before);
      after.delete(id);
      const record = before.get(id);
      if (keepsFormer && record?.former) {
        after.set(id, { ...record, ...record.former, former: null });
      }
      const here = bytesHere(await this.#blobs.list());
      await this.#change(before, after);
      return bytesOf(going(before.values(), after.values()), here);
    });
  }

  /** Bytes of these that are not here yet, not even in pieces. */
  async missingBytes(blobs: readonly Promised[]): Promise<number> {
    return missingOf(distinct(blobs), bytesHere(await this.#blobs.list()));
  }

  /**
   * Bytes that making room for a version of this model could free. Of another version than this, what
   * both need stays.
   */
  async evictableBytes(
    id: string,
    blobs: readonly Promised[] = [],
    index: Digest | null = null,
  ): Promise<number> {
    const records = await this.#read();
    const inUse = await this.#tabs.inUse();
    const own = records.get(id);
    const stays = [...records.values()].filter(
      (record) => record.id !== id && (record.isPinned || inUse.has(record.id)),
    );
    const needs = neededBy(stays);
    for (const { digest } of [...blobs, ...(own?.index === index ? own.blobs : [])]) {
      needs.set(digest, 1);
    }
    const held = await this.#blobs.list();
    return held
      .filter(({ digest }) => !needs.has(digest))
      .reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /**
   * Forget former versions of models that are wholly here, blobs and pieces that no model needs, and
   * what visits left that ended in the middle. Nothing while a tab loads a model: it may read what
   * another one has replaced meanwhile, and keeps small files before it says what it needs.
   */
  async sweep(): Promise<void> {
    await this.#tabs.alone(async () => {
      if ((await this.#tabs.inUse()).size > 0) {
        return;
      }
      await this.#blobs.removeStrays();
      const held = await this.#blobs.list();
      const records = await this.#read();
      const updated = [...records.values()].filter(
        (record) => record.former !== null && isHere(record, held),
      );
      if (updated.length > 0) {
        for (const record of updated) {
          records.set(record.id, { ...record, former: null });
        }
        await this.#blobs.writeRecords(toBytes(records.values()));
      }
      const needs = neededBy(records.values());
      const whole = new Set<Digest>();
      for (const { digest, isWhole } of held) {
        if (!needs.has(digest)) {
          await this.#blobs.delete(digest);
        } else if (isWhole) {
          whole.add(digest);
        } else if (whole.has(digest)) {
          await (await this.#blobs.pieces(digest))?.clear();
        }
      }
    });
  }

  /** @param loading versions that some tab is loading: what they need stays in any case. */
  async #change(
    before: Records,
    after: Records,
    loading: readonly ModelRecord[] = [],
  ): Promise<void> {
    // First the records: a blob without one is swept, a record without its blob is only downloaded.
    await this.#blobs.writeRecords(toBytes(after.values()));
    for (const digest of going(before.values(), [...after.values(), ...loading])) {
      await this.#blobs.delete(digest);
    }
  }

  async #read(): Promise<Records> {
    const bytes = await this.#blobs.readRecords();
    try {
      const records = bytes === null ? [] : fromBytes(bytes);
      return new Map(records.map((record) => [record.id, record]));
    } catch {
      // A damaged list is an empty one: models are found again when they are used.
      return new Map();
    }
  }
}

/** Takes out of `after` what has to leave for `record`; the names of models that do. */
function makeRoom(
  before: Records,
  after: Records,
  record: ModelRecord,
  loading: readonly ModelRecord[],
  inUse: ReadonlyMap<string, number>,
  held: readonly Held[],
  { quotaBytes, usedBytes }: Room,
): string[] {
  const here = bytesHere(held);
  const coming = missingOf(record.blobs, here);
  const lacking = () => {
    const gone = going(before.values(), [...after.values(), ...loading]);
    return coming - (quotaBytes - usedBytes) - bytesOf(gone, here);
  };
  // Its former version before other models: it is only for the time until this one is here, and who
  // loses another model loses all of it.
  if (lacking() > 0 && loading.length === 0) {
    after.set(record.id, { ...record, former: null });
  }
  const removed: string[] = [];
  const oldest = [...before.values()]
    .filter(({ id, isPinned }) => id !== record.id && !isPinned && !inUse.has(id))
    .toSorted((one, other) => one.lastUsed - other.lastUsed);
  for (const { id, name } of oldest) {
    if (lacking() <= 0) {
      break;
    }
    after.delete(id);
    removed.push(name);
  }
  if (lacking() > 0) {
    throw new TransomError(
      "no-room",
      `${record.name} needs ${inMegabytes(coming)} more than is kept already, and this browser ` +
        `gives ${inMegabytes(lacking())} too little; free disk space, or remove models that are pinned.`,
    );
  }
  return removed;
}

function required(records: ReadonlyMap<string, ModelRecord>, id: string): ModelRecord {
  const record = records.get(id);
  if (record === undefined) {
    throw new TransomError("model-not-found", `${id} is not kept in this browser.`);
  }
  return record;
}

/** Of a model's versions the newest that is wholly here. */
function formerOf(record: ModelRecord | undefined, held: readonly Held[]): Version | null {
  const versions = record === undefined ? [] : [record, record.former];
  const found = versions.find((version) => version !== null && isHere(version, held)) ?? null;
  return found === null ? null : { blobs: found.blobs, index: found.index };
}

function isHere({ blobs }: Version, held: readonly Held[]): boolean {
  const whole = bytesHere(held.filter(({ isWhole }) => isWhole));
  // A store does not list what is empty.
  return blobs.every(({ digest, size }) => (whole.get(digest) ?? 0) === size);
}

/** All that a model needs, each once. */
function blobsOf({ blobs, former }: ModelRecord): Promised[] {
  return distinct([...blobs, ...(former?.blobs ?? [])]);
}

/** How many models need each blob. */
function neededBy(records: Iterable<ModelRecord>): Map<Digest, number> {
  const needs = new Map<Digest, number>();
  for (const record of records) {
    for (const { digest } of blobsOf(record)) {
      needs.set(digest, (needs.get(digest) ?? 0) + 1);
    }
  }
  return needs;
}

/** Blobs that nobody needs any more. */
function going(before: Iterable<ModelRecord>, after: Iterable<ModelRecord>): Digest[] {
  const needs = neededBy(after);
  return [...neededBy(before).keys()].filter((digest) => !needs.has(digest));
}

/** What of each blob is here, whole or in pieces. */
function bytesHere(held: readonly Held[]): Map<Digest, number> {
  const here = new Map<Digest, number>();
  for (const { digest, bytes, isWhole } of held) {
    if (isWhole || !here.has(digest)) {
      here.set(digest, bytes);
    }
  }
  return here;
}

function bytesOf(digests: readonly Digest[], here: ReadonlyMap<Digest, number>): number {
  return digests.reduce((bytes, digest) => bytes + (here.get(digest) ?? 0), 0);
}

function missingOf(blobs: readonly Promised[], here: ReadonlyMap<Digest, number>): number {
  return blobs.reduce(
    (bytes, { digest, size }) => bytes + Math.max(0, size - (here.get(digest) ?? 0)),
    0,
  );
}

function distinct(blobs: readonly Promised[]): Promised[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}
