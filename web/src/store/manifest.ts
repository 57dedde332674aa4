/**
 * OCI image index and image manifest: typed reading, validation, caps.
 *
 * The format is `docs/formats/manifests.md`. Top-level keys that OCI allows and we do not use are
 * ignored, as the OCI specification asks; a wrong type, size or name is an error naming the field.
 * Nothing here fetches.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "./json.ts";
import { type Digest, isDigest } from "./verify.ts";

export const MEDIA_TYPES = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.transom.config.v1+json",
  shard: "application/vnd.transom.shard.v1",
  library: "application/vnd.transom.library.v1+wasm",
  tensorCache: "application/vnd.transom.tensor-cache.v1+json",
  tokenizer: "application/vnd.transom.tokenizer.v1+json",
  template: "application/vnd.ollama.image.template",
  system: "application/vnd.ollama.image.system",
  params: "application/vnd.ollama.image.params",
  messages: "application/vnd.ollama.image.messages",
} as const;

export const TITLE = "org.opencontainers.image.title";
/** What an image layout calls one of its models. */
export const REF_NAME = "org.opencontainers.image.ref.name";
export const LICENSES = "org.opencontainers.image.licenses";
export const SCHEDULE = "dev.transom.schedule";

/** OCI registries cap a manifest at 4 MiB; an index is a manifest to them. */
export const MAX_MANIFEST_BYTES = 4 * 1024 * 1024;
/** A 1 TB model in 32 MiB shards has 32 768 of them; more is not a model. */
const MAX_LAYERS = 32_768;
/** Variants of one tag; ten would be many. */
const MAX_PLATFORMS = 256;
/** A blob is held whole in memory and becomes one GPU buffer, which is 1 GiB here at most. */
const MAX_BLOB_BYTES = 1024 ** 3;
/** Annotations are short labels; the scheme histogram is the longest. */
const MAX_ANNOTATIONS = 64;
const MAX_ANNOTATION_LENGTH = 4096;
/** Names of files as our compiler writes them: no folders, no leading dot, no spaces. */
const TITLE_PATTERN = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,254}$/;

export interface Platform {
  os: string;
  architecture: string;
  variant: string | null;
}

export interface Descriptor {
  mediaType: string;
  digest: Digest;
  size: number;
  annotations: ReadonlyMap<string, string>;
  platform: Platform | null;
}

/** A descriptor that names a file. */
export interface FileDescriptor extends Descriptor {
  title: string;
}

export interface Index {
  manifests: readonly Descriptor[];
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
  return {
    manifests: root
      .field("manifests")
      .array(MAX_PLATFORMS)
      .map((row) => readDescriptor(row, MAX_MANIFEST_BYTES)),
    annotations: readAnnotations(root),
  };
}

/** @throws TransomError `invalid-manifest` naming the field. */
export function parseManifest(bytes: Uint8Array): Manifest {
  const root = open(bytes, "manifest", "invalid-manifest", MEDIA_TYPES.manifest);
  const config = readFile(root.field("config"));
  const layers = root.field("layers").array(MAX_LAYERS).map(readFile);
  const titles = new Set<string>();
  for (const { title } of [config, ...layers]) {
    if (titles.has(title)) {
      throw root.error(`names ${title} twice`);
    }
    titles.add(title);
  }
  return { config, layers, annotations: readAnnotations(root) };
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
  if (!actual.isMissing && actual.string(MAX_ANNOTATION_LENGTH) !== mediaType) {
    throw actual.error(`must be ${mediaType}`);
  }
  return root;
}

function readDescriptor(row: Reader, maxBytes: number): Descriptor {
  const digest = row.field("digest").string(MAX_ANNOTATION_LENGTH);
  if (!isDigest(digest)) {
    throw row.field("digest").error("must be sha256: and 64 lower-case hex digits");
  }
  return {
    mediaType: row.field("mediaType").string(MAX_ANNOTATION_LENGTH),
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

function readPlatform(row: Reader): Platform | null {
  if (row.isMissing) {
    return null;
  }
  const variant = row.field("variant");
  return {
    os: row.field("os").string(MAX_ANNOTATION_LENGTH),
    architecture: row.field("architecture").string(MAX_ANNOTATION_LENGTH),
    variant: variant.isMissing ? null : variant.string(MAX_ANNOTATION_LENGTH),
  };
}

function readAnnotations(row: Reader): ReadonlyMap<string, string> {
  const annotations = row.field("annotations");
  return annotations.isMissing
    ? new Map()
    : annotations.stringMap(MAX_ANNOTATIONS, MAX_ANNOTATION_LENGTH);
}
