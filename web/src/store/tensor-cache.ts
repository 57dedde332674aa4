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

/** Bytes of one element, of the types that our shards and MLC's use. */
const DTYPE_BYTES = new Map([
  ["float32", 4],
  ["uint32", 4],
  ["int32", 4],
  ["float16", 2],
  ["uint8", 1],
  ["int8", 1],
]);
/** MLC keeps some float32 tensors as their upper halves: half the bytes that the type has. */
const PACKED_BF16 = "f32-to-bf16";
const BF16_BYTES = 2;

/** A hundred layers of a hundred tensors each; larger than any model known. */
const MAX_TENSORS = 100_000;
const MAX_NAME_LENGTH = 256;
/** TVM's own limit for a tensor that WebGPU kernels index. */
const MAX_DIMENSIONS = 8;
const MAX_DIMENSION = 2 ** 31 - 1;

export interface TensorRecord {
  name: string;
  shape: readonly number[];
  dtype: string;
  /** How its bytes are stored: as they are, or float32 as bfloat16. */
  format: "raw" | "f32-to-bf16";
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
  const format = row.field("format").string(MAX_NAME_LENGTH);
  if (format !== "raw" && !(format === PACKED_BF16 && dtype === "float32")) {
    throw row.field("format").error(`must be raw, not ${format}`);
  }
  const storedBytes = format === PACKED_BF16 ? BF16_BYTES : elementBytes;
  const shape = row
    .field("shape")
    .array(MAX_DIMENSIONS)
    .map((dimension) => dimension.integer(1, MAX_DIMENSION));
  const sizeBytes = row.field("nbytes").integer(0, file.size);
  const byteOffset = row.field("byteOffset").integer(0, file.size - sizeBytes);
  if (byteOffset % storedBytes !== 0) {
    throw row.field("byteOffset").error(`must be a multiple of ${storedBytes}`);
  }
  const expected = shape.reduce((product, dimension) => product * dimension, storedBytes);
  if (expected !== sizeBytes) {
    throw row.field("nbytes").error(`must be ${expected} for ${name}`);
  }
  return { name, shape, dtype, format, byteOffset, sizeBytes };
}
