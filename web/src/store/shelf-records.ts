/**
 * The list of models as it lies beside the blobs, in JSON:
 *
 *     { models: [{ name, title, lastUsed, isPinned, index?, blobs, former?: { index?, blobs } }] }
 *
 * `name` is the model's id, `title` what people call it. A field that a version of Transom does not
 * know it does not read, and leaves out when it writes: `former` is then lost, and nothing else.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "./json.ts";
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

/** What a model consists of, at one time. */
export interface Version {
  /** Each once. */
  blobs: readonly Promised[];
  /** Which of them is its index, to open it without its host; null where version 0.5.0 kept none. */
  index: Digest | null;
}

/** Its own version is the newest that was asked for: all of it is here, or it is on its way. */
export interface ModelRecord extends ModelName, Version {
  /** The last one that was wholly here, while a newer one is not. */
  former: Version | null;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** Kept when room is made for others. */
  isPinned: boolean;
}

export function toBytes(records: Iterable<ModelRecord>): Bytes {
  const models = [...records].map(({ id, name, lastUsed, isPinned, former, ...version }) => ({
    name: id,
    title: name,
    lastUsed,
    isPinned: isPinned ? 1 : 0,
    ...versionRow(version),
    ...(former !== null && { former: versionRow(former) }),
  }));
  return new TextEncoder().encode(JSON.stringify({ models }));
}

/** @throws TransomError where it is no such list. */
export function fromBytes(bytes: Bytes): ModelRecord[] {
  const fail = (message: string) => new TransomError("internal", message);
  const root = Reader.parse(bytes, "the list of models", fail);
  return root
    .field("models")
    .array(MAX_MODELS)
    .map((row) => {
      const former = row.field("former");
      return {
        id: row.field("name").string(MAX_NAME_LENGTH),
        name: readName(row),
        lastUsed: row.field("lastUsed").integer(0, Number.MAX_SAFE_INTEGER),
        isPinned: row.field("isPinned").integer(0, 1) === 1,
        ...readVersion(row),
        former: former.isMissing ? null : readVersion(former),
      };
    });
}

function versionRow({ blobs, index }: Version) {
  return {
    ...(index !== null && { index }),
    blobs: blobs.map(({ digest, size }) => ({ digest, size })),
  };
}

function readVersion(row: Reader): Version {
  const index = row.field("index");
  return {
    index: index.isMissing ? null : readDigest(index),
    blobs: row
      .field("blobs")
      .array(MAX_BLOBS)
      .map((blob) => ({
        digest: readDigest(blob.field("digest")),
        size: blob.field("size").integer(0, Number.MAX_SAFE_INTEGER),
      })),
  };
}

function readDigest(field: Reader): Digest {
  const digest = field.string(MAX_NAME_LENGTH);
  if (!isDigest(digest)) {
    throw field.error("is no digest");
  }
  return digest;
}

/** Version 0.4.0 wrote no names for people. */
function readName(row: Reader): string {
  const title = row.field("title");
  return (title.isMissing ? row.field("name") : title).string(MAX_NAME_LENGTH);
}
