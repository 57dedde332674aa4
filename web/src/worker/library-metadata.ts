/** What a model library says about itself (`_metadata`, MLC's JSON with our `transom` object). */
import { TransomError } from "../errors.ts";
import type { Task } from "../protocol.ts";
import { Reader } from "../store/json.ts";
import type { TensorRecord } from "../store/tensor-cache.ts";

/** No published model looks further back than this. */
const MAX_CONTEXT = 2 ** 24;
const MAX_PARAMS = 100_000;
const MAX_TEXT = 256;
const MAX_DIMENSIONS = 8;
/** What a library is for, by what it keeps between calls (`kv_state_kind`). */
const TASKS = new Map<string, Task>([
  ["kv_cache", "chat"],
  ["none", "embedding"],
]);

export interface ParameterInfo {
  name: string;
  shape: readonly number[];
  dtype: string;
}

export interface LibraryMetadata {
  task: Task;
  contextWindowSize: number;
  prefillChunkSize: number;
  computeDtype: string;
  params: readonly ParameterInfo[];
}

/** @throws TransomError `invalid-bundle` naming the field. */
export function parseLibraryMetadata(text: string): LibraryMetadata {
  const fail = (message: string) => new TransomError("invalid-bundle", `The library's ${message}`);
  const root = Reader.parse(new TextEncoder().encode(text), "_metadata", fail);
  const kind = root.field("kv_state_kind");
  // Libraries of MLC's first years do not say; all of them had a KV cache.
  const task = TASKS.get(kind.isMissing ? "kv_cache" : kind.string(MAX_TEXT));
  if (task === undefined) {
    throw kind.error(`must be ${[...TASKS.keys()].join(" or ")}`);
  }
  return {
    task,
    contextWindowSize: root.field("context_window_size").integer(2, MAX_CONTEXT),
    prefillChunkSize: root.field("prefill_chunk_size").integer(1, MAX_CONTEXT),
    computeDtype: readComputeDtype(root),
    params: root
      .field("params")
      .array(MAX_PARAMS)
      .map((row) => ({
        name: row.field("name").string(MAX_TEXT),
        shape: row
          .field("shape")
          .array(MAX_DIMENSIONS)
          .map((dimension) => dimension.integer(1, 2 ** 31 - 1)),
        dtype: row.field("dtype").string(MAX_TEXT),
      })),
  };
}

/** Ours says it; MLC's name of the quantization does ("q4f16_1": activations in f16). */
function readComputeDtype(root: Reader): string {
  const own = root.field("transom");
  if (!own.isMissing) {
    return own.field("compute_dtype").string(MAX_TEXT);
  }
  const [, bits] = /f(16|32)(?:_|$)/.exec(root.field("quantization").string(MAX_TEXT)) ?? [];
  return bits === undefined ? "unknown" : `float${bits}`;
}

/**
 * Weights and library are made by one compiler, but travel apart: every parameter that the library
 * asks for must be there with the shape and type it was compiled for.
 */
export function requireMatch(
  params: readonly ParameterInfo[],
  tensors: Iterable<TensorRecord>,
): void {
  const byName = new Map([...tensors].map((tensor) => [tensor.name, tensor]));
  for (const { name, shape, dtype } of params) {
    const tensor = byName.get(name);
    const wanted = `${dtype}[${shape.join(", ")}]`;
    if (tensor === undefined) {
      throw new TransomError("invalid-bundle", `The shards hold no parameter ${name} (${wanted}).`);
    }
    const found = `${tensor.dtype}[${tensor.shape.join(", ")}]`;
    if (found !== wanted) {
      throw new TransomError(
        "invalid-bundle",
        `Parameter ${name} is ${found} in the shards, but the library was compiled for ${wanted}.`,
      );
    }
  }
}
