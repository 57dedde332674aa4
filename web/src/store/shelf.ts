/**
 * Which models this origin keeps, and which blobs each needs.
 *
 *     model -> { name, digests, bytes, lastUsed, isPinned, index }
 *
 * Who needs a blob is counted from these records each time, so there is no counter to go wrong:
 * forgetting a model frees the blobs that no other record names. Records are a small JSON file
 * beside the blobs; changes are made under a lock that all tabs of the origin share. A model that
 * some tab is loading is neither forgotten nor pushed out.
 */
import { TransomError } from "../errors.ts";
import { inMegabytes } from "../figures.ts";
import { Reader } from "./json.ts";
import type { BlobStore, Held } from "./store.ts";
import { type Bytes, type Digest, type Promised, isDigest } from "./verify.ts";

/** A disk full of the smallest models has fewer. */
const MAX_MODELS = 10_000;
const MAX_NAME_LENGTH = 1024;
/** OCI allows no more layers in a manifest than fit its size. */
const MAX_BLOBS = 100_000;

/** What this origin calls a model, and what people do: two hosts may each have one of that name. */
export interface ModelName {
  id: string;
  name: string;
}

export interface ModelRecord extends ModelName {
  /** Each once. */
  blobs: readonly Promised[];
  /** Which of them is its index, to open it without its host; null where version 0.5.0 kept none. */
  index: Digest | null;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Kept when room is made for others. */
  isPinned: boolean;
}

/** What all tabs of an origin tell each other. */
export interface Tabs {
  /** Runs `work` while nobody else, in any tab, runs theirs. */
  alone<T>(work: () => Promise<T>): Promise<T>;
  /** Runs `work` while everybody sees that this model is in use. */
  using<T>(id: string, work: () => Promise<T>): Promise<T>;
  /** The ids of models that are in use, in any tab. */
  inUse(): Promise<ReadonlySet<string>>;
}

/** Bytes that this origin may use, and uses. */
export interface Room {
  quotaBytes: number;
  usedBytes: number;
}

export interface ModelSize extends ModelName {
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
   * A model is used now, and needs these blobs; what an older version of it needed goes. Said before
   * the first blob is fetched.
   */
  use(
    { id, name }: ModelName,
    blobs: readonly Promised[],
    index: Digest | null = null,
  ): Promise<void> {
    return this.#tabs.alone(async () => {
      const records = await this.#read();
      const before = records.get(id);
      const isPinned = before?.isPinned ?? false;
      const lastUsed = this.#now();
      records.set(id, { id, name, blobs: distinct(blobs), index, lastUsed, isPinned });
      await this.#blobs.writeRecords(toBytes(records.values()));
      await this.#deleteUnneeded(before?.blobs ?? [], records);
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

  /** What is recorded of a model; null when it is not here. */
  async find(id: string): Promise<ModelRecord | null> {
    return (await this.#read()).get(id) ?? null;
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
    const stored = (blobs: readonly Promised[]) =>
      blobs.reduce((bytes, { digest }) => bytes + (here.get(digest) ?? 0), 0);
    return [...records.values()]
      .toSorted((one, other) => other.lastUsed - one.lastUsed)
      .map(({ id, name, blobs, lastUsed, isPinned, index }) => ({
        id,
        name,
        totalBytes: sum(blobs),
        storedBytes: stored(blobs),
        sharedBytes: stored(blobs.filter(({ digest }) => (needs.get(digest) ?? 0) > 1)),
        lastUsed,
        isPinned,
        isInUse: inUse.has(id),
        index,
      }));
  }

  /**
   * Forget a model and the blobs that only it needs; the bytes freed. No error when not here.
   *
   * @throws TransomError `busy` while a tab loads it.
   */
  async forget(id: string): Promise<number> {
    return this.#tabs.alone(async () => {
      const records = await this.#read();
      if ((await this.#tabs.inUse()).has(id)) {
        throw new TransomError(
          "busy",
          `${records.get(id)?.name ?? id} is being loaded, here or in another tab; wait until it ` +
            "is ready.",
        );
      }
      return this.#drop(records, id);
    });
  }

  /**
   * Make room for so many bytes: models that nobody used for longest go first; pinned ones never,
   * nor those in use, nor the one they are for.
   *
   * @returns the names of those that went.
   * @throws TransomError `no-room` saying how much is missing; nothing is forgotten then.
   */
  async makeRoom(
    bytes: number,
    room: () => Promise<Room>,
    { id, name }: ModelName,
  ): Promise<string[]> {
    return this.#tabs.alone(async () => {
      const records = await this.#read();
      const inUse = await this.#tabs.inUse();
      const here = bytesHere(await this.#blobs.list());
      const { quotaBytes, usedBytes } = await room();
      let missing = bytes - (quotaBytes - usedBytes);
      const leaving: ModelRecord[] = [];
      const staying = new Map(records);
      const oldest = [...records.values()]
        .filter((record) => record.id !== id && !record.isPinned && !inUse.has(record.id))
        .toSorted((one, other) => one.lastUsed - other.lastUsed);
      for (const record of oldest) {
        if (missing <= 0) {
          break;
        }
        missing -= freedBy(staying, record, here);
        staying.delete(record.id);
        leaving.push(record);
      }
      if (missing > 0) {
        throw new TransomError(
          "no-room",
          `${name} needs ${inMegabytes(bytes)} more than is kept already, and this browser gives ` +
            `${inMegabytes(missing)} too little; free disk space, or remove models that are pinned.`,
        );
      }
      for (const each of leaving) {
        await this.#drop(records, each.id);
      }
      return leaving.map((record) => record.name);
    });
  }

  /** Bytes of these that are not here yet, not even in pieces. */
  async missingBytes(blobs: readonly Promised[]): Promise<number> {
    const here = bytesHere(await this.#blobs.list());
    return distinct(blobs).reduce(
      (bytes, { digest, size }) => bytes + Math.max(0, size - (here.get(digest) ?? 0)),
      0,
    );
  }

  /** Bytes that making room for this model could free. */
  async evictableBytes(id: string): Promise<number> {
    const records = await this.#read();
    const inUse = await this.#tabs.inUse();
    const stays = [...records.values()].filter(
      (record) => record.id === id || record.isPinned || inUse.has(record.id),
    );
    const needs = neededBy(stays);
    const held = await this.#blobs.list();
    return held
      .filter(({ digest }) => !needs.has(digest))
      .reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Forget blobs and pieces that no model needs, and what visits left that ended in the middle. */
  async sweep(): Promise<void> {
    await this.#tabs.alone(async () => {
      if ((await this.#tabs.inUse()).size === 0) {
        await this.#blobs.removeStrays();
      }
      const needs = neededBy((await this.#read()).values());
      const whole = new Set<Digest>();
      for (const { digest, isWhole } of await this.#blobs.list()) {
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

  async #drop(records: Map<string, ModelRecord>, id: string): Promise<number> {
    const record = records.get(id);
    if (record === undefined) {
      return 0;
    }
    const freed = freedBy(records, record, bytesHere(await this.#blobs.list()));
    records.delete(id);
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
      return new Map(records.map((record) => [record.id, record]));
    } catch {
      // A damaged list is an empty one: models are found again when they are used.
      return new Map();
    }
  }
}

function required(records: ReadonlyMap<string, ModelRecord>, id: string): ModelRecord {
  const record = records.get(id);
  if (record === undefined) {
    throw new TransomError("model-not-found", `${id} is not kept in this browser.`);
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

/** Bytes that go when the model goes. */
function freedBy(
  records: ReadonlyMap<string, ModelRecord>,
  record: ModelRecord,
  here: ReadonlyMap<Digest, number>,
): number {
  const needs = neededBy(records.values());
  return record.blobs
    .filter(({ digest }) => needs.get(digest) === 1)
    .reduce((bytes, { digest }) => bytes + (here.get(digest) ?? 0), 0);
}

function distinct(blobs: readonly Promised[]): Promised[] {
  return [...new Map(blobs.map((blob) => [blob.digest, blob])).values()];
}

function sum(blobs: readonly Promised[]): number {
  return blobs.reduce((bytes, { size }) => bytes + size, 0);
}

function toBytes(records: Iterable<ModelRecord>): Bytes {
  const models = [...records].map(({ id, name, blobs, lastUsed, isPinned, index }) => ({
    name: id,
    title: name,
    lastUsed,
    isPinned: isPinned ? 1 : 0,
    ...(index !== null && { index }),
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
      id: row.field("name").string(MAX_NAME_LENGTH),
      name: readName(row),
      lastUsed: row.field("lastUsed").integer(0, Number.MAX_SAFE_INTEGER),
      isPinned: row.field("isPinned").integer(0, 1) === 1,
      index: readIndexDigest(row),
      blobs: row
        .field("blobs")
        .array(MAX_BLOBS)
        .map((blob) => ({
          digest: readDigest(blob.field("digest")),
          size: blob.field("size").integer(0, Number.MAX_SAFE_INTEGER),
        })),
    }));
}

function readDigest(field: Reader): Digest {
  const digest = field.string(MAX_NAME_LENGTH);
  if (!isDigest(digest)) {
    throw field.error("is no digest");
  }
  return digest;
}

function readIndexDigest(row: Reader): Digest | null {
  const index = row.field("index");
  return index.isMissing ? null : readDigest(index);
}

/** Version 0.4.0 wrote no names for people. */
function readName(row: Reader): string {
  const title = row.field("title");
  return (title.isMissing ? row.field("name") : title).string(MAX_NAME_LENGTH);
}
