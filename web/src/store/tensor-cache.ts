/**
 * `tensor-cache.json`: which tensor lies where in which shard (docs/formats/shards.md).
 *
 * Everything is checked against the manifest and against itself before a byte reaches the GPU:
 * shards known, sizes equal, tensors inside their shard, lengths equal to shape times type.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "./json.ts";
import { type FileDescriptor, MEDIA_TYPES, type Manifest, layersOf } from "./manifest.ts";
import { hexOf } from "./verify.ts";

/** Bytes of one element, of the types that our shards use. */
const DTYPE_BYTES = new Map([
  ["float32", 4],
  ["uint32", 4],
  ["int32", 4],
]);

/** A hundred layers of a hundred tensors each; larger than any model known. */
const MAX_TENSORS = 100_000;
const MAX_NAME_LENGTH = 256;
/** TVM's own limit for a tensor that WebGPU kernels index. */
const MAX_DIMENSIONS = 8;
const MAX_DIMENSION = 2 ** 31 - 1;
/** A GPU copy starts and ends at whole words. */
const WORD_BYTES = 4;

export interface TensorRecord {
  name: string;
  shape: readonly number[];
  dtype: string;
  byteOffset: number;
  sizeBytes: number;
}

export interface ShardRecord {
  file: FileDescriptor;
  tensors: readonly TensorRecord[];
}

/** @throws TransomError `invalid-bundle` naming the shard or tensor. */
export function parseTensorCache(bytes: Uint8Array, manifest: Manifest): ShardRecord[] {
  const fail = (message: string) => new TransomError("invalid-bundle", message);
  const files = new Map(layersOf(manifest, MEDIA_TYPES.shard).map((file) => [file.title, file]));
  const names = new Set<string>();
  const root = Reader.parse(bytes, "tensor-cache.json", fail);
  const shards = root
    .field("records")
    .array(files.size)
    .map((row) => {
      const file = files.get(row.field("dataPath").string(MAX_NAME_LENGTH));
      if (file === undefined) {
        throw row.field("dataPath").error("is not a shard of the manifest, or is there twice");
      }
      files.delete(file.title);
      return readShard(row, file, names);
    });
  const [unused] = files.keys();
  if (unused !== undefined) {
    throw root.error(`does not say what is in ${unused}`);
  }
  return shards;
}

function readShard(row: Reader, file: FileDescriptor, names: Set<string>): ShardRecord {
  const nbytes = row.field("nbytes");
  if (nbytes.integer(0, Number.MAX_SAFE_INTEGER) !== file.size) {
    throw nbytes.error(`must be the manifest's ${file.size}`);
  }
  const sha256 = row.field("sha256");
  if (!sha256.isMissing && sha256.string(MAX_NAME_LENGTH) !== hexOf(file.digest)) {
    throw sha256.error(`must be the manifest's ${hexOf(file.digest)}`);
  }
  const tensors = row
    .field("records")
    .array(MAX_TENSORS)
    .map((tensor) => readTensor(tensor, file));
  for (const { name } of tensors) {
    if (names.has(name)) {
      throw row.error(`holds ${name} a second time`);
    }
    names.add(name);
  }
  return { file, tensors };
}

function readTensor(row: Reader, file: FileDescriptor): TensorRecord {
  const name = row.field("name").string(MAX_NAME_LENGTH);
  const dtype = row.field("dtype").string(MAX_NAME_LENGTH);
  const elementBytes = DTYPE_BYTES.get(dtype);
  if (elementBytes === undefined) {
    throw row.field("dtype").error(`is ${dtype}, which this version does not know`);
  }
  const format = row.field("format");
  if (format.string(MAX_NAME_LENGTH) !== "raw") {
    throw format.error("must be raw");
  }
  const shape = row
    .field("shape")
    .array(MAX_DIMENSIONS)
    .map((dimension) => dimension.integer(1, MAX_DIMENSION));
  const sizeBytes = row.field("nbytes").integer(0, file.size);
  const byteOffset = row.field("byteOffset").integer(0, file.size - sizeBytes);
  if (byteOffset % WORD_BYTES !== 0) {
    throw row.field("byteOffset").error(`must be a multiple of ${WORD_BYTES}`);
  }
  const expected = shape.reduce((product, dimension) => product * dimension, elementBytes);
  if (expected !== sizeBytes) {
    throw row.field("nbytes").error(`must be ${expected} for ${name}`);
  }
  return { name, shape, dtype, byteOffset, sizeBytes };
}
