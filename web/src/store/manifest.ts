/**
 * OCI image index and image manifest: typed reading, validation, caps.
 *
 * The format is `docs/formats/manifests.md`; names, caps and types of the JSON come from the Python
 * that writes it (`manifest-types.ts`). Top-level keys that OCI allows and we do not use are
 * ignored, as the OCI specification asks; a wrong type, size or name is an error naming the field.
 * Nothing here fetches.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "./json.ts";
import {
  ANNOTATIONS,
  type DescriptorJson,
  LIMITS,
  MEDIA_TYPES,
  type PlatformJson,
} from "./manifest-types.ts";
import { type Digest, type Promised, hexOf, isDigest } from "./verify.ts";

export { MEDIA_TYPES };
export const TITLE = ANNOTATIONS.title;
/** What an image layout calls one of its models. */
export const REF_NAME = ANNOTATIONS.refName;
const MAX_FILE = ANNOTATIONS.maxFile;
export const LICENSES = ANNOTATIONS.licenses;
export const SCHEDULE = ANNOTATIONS.schedule;

/** OCI registries cap a manifest at 4 MiB; an index is a manifest to them. */
export const MAX_MANIFEST_BYTES = LIMITS.manifestBytes;
/** A blob is held whole in memory and becomes one GPU buffer, which is 1 GiB here at most. */
const MAX_BLOB_BYTES = 1024 ** 3;
/** Names of files as our compiler writes them: no folders, no leading dot, no spaces. */
const TITLE_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/;

export type Platform = Required<PlatformJson>;

export interface Descriptor extends Omit<DescriptorJson, "digest" | "annotations" | "platform"> {
  digest: Digest;
  annotations: ReadonlyMap<string, string>;
  platform: Platform | null;
}

/** A descriptor that names a file. */
export interface FileDescriptor extends Descriptor {
  title: string;
}

export interface Index {
  manifests: readonly Descriptor[];
  /** Of an image layout whose host takes small files only: larger blobs lie in pieces. */
  maxFileBytes: number | null;
  annotations: ReadonlyMap<string, string>;
}

export interface Manifest {
  config: FileDescriptor;
  layers: readonly FileDescriptor[];
  annotations: ReadonlyMap<string, string>;
}

/** @throws TransomError `invalid-index` naming the field. */
export function parseIndex(bytes: Uint8Array): Index {
  const root = open(bytes, "index", "invalid-index", MEDIA_TYPES.index);
  const annotations = readAnnotations(root);
  return {
    maxFileBytes: readMaxFile(root, annotations),
    manifests: root
      .field("manifests")
      .array(LIMITS.descriptors)
      .map((row) => readDescriptor(row, MAX_MANIFEST_BYTES)),
    annotations,
  };
}

function readMaxFile(root: Reader, annotations: ReadonlyMap<string, string>): number | null {
  const text = annotations.get(MAX_FILE);
  if (text === undefined) {
    return null;
  }
  const bytes = /^\d{1,15}$/.test(text) ? Number(text) : 0;
  if (bytes < MAX_MANIFEST_BYTES) {
    throw root
      .field("annotations")
      .error(`needs a number of bytes from 4 MiB on under ${MAX_FILE}`);
  }
  return bytes;
}

/**
 * A native platform's files need no titles, and are of any size: they are never in memory as a whole.
 *
 * @throws TransomError `invalid-manifest` naming the field.
 */
export function parseManifest(bytes: Uint8Array): Manifest {
  const root = open(bytes, "manifest", "invalid-manifest", MEDIA_TYPES.manifest);
  const isNative = root.field("config").field("mediaType").raw() === MEDIA_TYPES.nativeConfig;
  const read = isNative ? readNativeFile : readFile;
  const config = read(root.field("config"));
  const layers = root.field("layers").array(LIMITS.descriptors).map(read);
  const titles = new Set<string>();
  for (const { title } of [config, ...layers]) {
    if (titles.has(title)) {
      throw root.error(`names ${title} twice`);
    }
    titles.add(title);
  }
  return { config, layers, annotations: readAnnotations(root) };
}

/**
 * Everything that a manifest of any platform names, by digest. Others than ours give layers no
 * titles, and no limit.
 */
export function blobsOf(bytes: Uint8Array): (Promised & { title: string | null })[] {
  const root = open(bytes, "manifest", "invalid-manifest", MEDIA_TYPES.manifest);
  return [root.field("config"), ...root.field("layers").array(LIMITS.descriptors)].map((row) => {
    const { digest, size, annotations } = readDescriptor(row, Number.MAX_SAFE_INTEGER);
    return { digest, size, title: annotations.get(TITLE) ?? null };
  });
}

/** All layers of one media type, in the manifest's order. */
export function layersOf(manifest: Manifest, mediaType: string): readonly FileDescriptor[] {
  return manifest.layers.filter((layer) => layer.mediaType === mediaType);
}

/** The one layer of a media type that a bundle cannot do without. */
export function layerOf(manifest: Manifest, mediaType: string): FileDescriptor {
  const [layer, another] = layersOf(manifest, mediaType);
  if (layer === undefined || another !== undefined) {
    const count = layer === undefined ? "no" : "more than one";
    throw new TransomError("invalid-manifest", `The manifest has ${count} layer of ${mediaType}.`);
  }
  return layer;
}

/** The layer of a media type that a bundle may leave out, null where it does. */
export function optionalLayerOf(manifest: Manifest, mediaType: string): FileDescriptor | null {
  return layersOf(manifest, mediaType).length === 0 ? null : layerOf(manifest, mediaType);
}

function open(
  bytes: Uint8Array,
  name: string,
  code: "invalid-index" | "invalid-manifest",
  mediaType: string,
): Reader {
  const fail = (message: string) => new TransomError(code, `The model's ${message}`);
  if (bytes.byteLength > MAX_MANIFEST_BYTES) {
    throw fail(`${name} is larger than ${MAX_MANIFEST_BYTES} bytes.`);
  }
  const root = Reader.parse(bytes, name, fail);
  root.field("schemaVersion").integer(2, 2);
  const actual = root.field("mediaType");
  if (!actual.isMissing && actual.string(LIMITS.annotationChars) !== mediaType) {
    throw actual.error(`must be ${mediaType}`);
  }
  return root;
}

function readDescriptor(row: Reader, maxBytes: number): Descriptor {
  const digest = row.field("digest").string(LIMITS.annotationChars);
  if (!isDigest(digest)) {
    throw row.field("digest").error("must be sha256: and 64 lower-case hex digits");
  }
  return {
    mediaType: row.field("mediaType").string(LIMITS.annotationChars),
    digest,
    size: row.field("size").integer(0, maxBytes),
    annotations: readAnnotations(row),
    platform: readPlatform(row.field("platform")),
  };
}

function readFile(row: Reader): FileDescriptor {
  const descriptor = readDescriptor(row, MAX_BLOB_BYTES);
  const title = descriptor.annotations.get(TITLE);
  if (title === undefined || !TITLE_PATTERN.test(title)) {
    throw row.field("annotations").error(`needs a plain file name under ${TITLE}`);
  }
  return { ...descriptor, title };
}

function readNativeFile(row: Reader): FileDescriptor {
  const descriptor = readDescriptor(row, Number.MAX_SAFE_INTEGER);
  const title = descriptor.annotations.get(TITLE) ?? "";
  return { ...descriptor, title: TITLE_PATTERN.test(title) ? title : hexOf(descriptor.digest) };
}

function readPlatform(row: Reader): Platform | null {
  if (row.isMissing) {
    return null;
  }
  const variant = row.field("variant");
  return {
    os: row.field("os").string(LIMITS.annotationChars),
    architecture: row.field("architecture").string(LIMITS.annotationChars),
    variant: variant.isMissing ? null : variant.string(LIMITS.annotationChars),
  };
}

function readAnnotations(row: Reader): ReadonlyMap<string, string> {
  const annotations = row.field("annotations");
  return annotations.isMissing
    ? new Map()
    : annotations.stringMap(LIMITS.annotations, LIMITS.annotationChars);
}
