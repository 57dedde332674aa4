/**
 * GPU memory of a model, told from its small files before any weights are here.
 *
 * Weights are exact (`tensor-cache.json`). What a program needs beside them it says itself; a
 * library's KV cache and scratch follow from the sizes in `mlc-chat-config.json` as in
 * `compile/transom_compile/memory_estimate.py`, and a config that does not tell those (MLC's old
 * ones) gets a tenth of the weights. Pure.
 */
import { TransomError } from "../errors.ts";
import { Reader } from "../store/json.ts";
import type { ShardRecord } from "../store/tensor-cache.ts";
import { poolTokens } from "./program/pool-size.ts";
import type { Program } from "./program/program.ts";
import { sharedBytes } from "./program/shared-buffers.ts";

/** Tokens of a page of the KV cache; there is one page to spare. */
const PAGE_TOKENS = 16;
const UNKNOWN_SHARE = 0.1;
const MAX_SIZE = 2 ** 40;

export interface EstimateFacts {
  shards: readonly ShardRecord[];
  /** `mlc-chat-config.json`. */
  config: Uint8Array;
  /** Null: a library will run. */
  program: Program | null;
  /** Of one activation: 2 or 4. */
  dtypeBytes: number;
  /** The largest buffer that the adapter takes. */
  bufferBytes: number;
  /** Tokens that the model's publisher wants at most. */
  contextWindow: number;
}

/** The largest buffer that kernels bind whole, and all that the GPU will hold. */
export interface Estimate {
  largest: { name: string; sizeBytes: number };
  totalBytes: number;
}

export function estimate(facts: EstimateFacts): Estimate {
  const { shards, program } = facts;
  const tensors = shards
    .flatMap((shard) => shard.tensors)
    .map(({ name, sizeBytes, format }) => ({
      name,
      // Halves of float32 are made whole on their way to the GPU.
      sizeBytes: format === "raw" ? sizeBytes : 2 * sizeBytes,
    }));
  const weights = tensors.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  const sizes = readSizes(facts.config);
  const contextWindow = Math.min(sizes.contextWindow, facts.contextWindow);
  const rest =
    program === null
      ? ofLibrary({ ...sizes, contextWindow }, facts.dtypeBytes, weights)
      : ofProgram(program, contextWindow, facts.bufferBytes);
  const largest = [...tensors, ...cacheOf(program, contextWindow)].reduce(
    (most, buffer) => (buffer.sizeBytes > most.sizeBytes ? buffer : most),
    { name: "", sizeBytes: 0 },
  );
  return { largest, totalBytes: Math.ceil(weights + rest) };
}

function ofProgram(program: Program, wanted: number, bufferBytes: number): number {
  const { memory, layers, contextWindowSize } = program;
  const window = Math.min(contextWindowSize, wanted);
  const tokens = poolTokens(window, memory.kvBytesPerToken, layers, bufferBytes);
  return tokens * memory.kvBytesPerToken + memory.scratch + sharedBytes(program);
}

/** What no adapter can do without: a layer's keys and values of one whole window. */
function cacheOf(program: Program | null, wanted: number): Estimate["largest"][] {
  if (program === null) {
    return [];
  }
  const tokens = Math.min(program.contextWindowSize, wanted);
  const sizeBytes = (tokens * program.memory.kvBytesPerToken) / program.layers;
  return [{ name: `KV cache of ${tokens} tokens`, sizeBytes }];
}

interface Sizes {
  contextWindow: number;
  prefillChunk: number;
  layers: number | null;
  keyValueHeads: number | null;
  queryHeads: number | null;
  headWidth: number | null;
  width: number | null;
  inner: number;
  vocabulary: number;
}

/** Ours have GGUF's names, MLC's those of the checkpoints' own configs. */
function readSizes(bytes: Uint8Array): Sizes {
  const root = Reader.parse(bytes, "mlc-chat-config.json", invalid);
  const own = root.field("model_config");
  const read = (row: Reader, ...names: string[]) => {
    for (const name of row.isMissing ? [] : names) {
      const field = row.field(name);
      if (!field.isMissing) {
        return field.integer(0, MAX_SIZE);
      }
    }
    return null;
  };
  const queryHeads = read(own, "head_count", "num_attention_heads");
  const width = read(own, "embedding_length", "hidden_size");
  const guess = queryHeads !== null && width !== null ? Math.ceil(width / queryHeads) : null;
  return {
    contextWindow: read(root, "context_window_size") ?? Infinity,
    prefillChunk: read(root, "prefill_chunk_size") ?? 0,
    layers: read(own, "block_count", "num_hidden_layers"),
    keyValueHeads: read(own, "head_count_kv", "num_key_value_heads") ?? queryHeads,
    queryHeads,
    headWidth: read(own, "head_dim") ?? guess,
    width,
    inner: read(own, "feed_forward_length", "intermediate_size") ?? 0,
    vocabulary: read(root, "vocab_size") ?? 0,
  };
}

function ofLibrary(sizes: Sizes, dtypeBytes: number, weights: number): number {
  const tokens = (Math.ceil(sizes.contextWindow / PAGE_TOKENS) + 1) * PAGE_TOKENS;
  const { layers, keyValueHeads, queryHeads, headWidth, width } = sizes;
  if (
    layers === null ||
    keyValueHeads === null ||
    queryHeads === null ||
    !Number.isFinite(tokens) ||
    headWidth === null ||
    width === null
  ) {
    return weights * UNKNOWN_SHARE;
  }
  const cache = layers * 2 * keyValueHeads * headWidth * tokens * dtypeBytes;
  // Per token of a prefill: the residual stream and its norm, gate and up, the cache's own copies.
  const perToken = 4 * width + 2 * sizes.inner + 2 * (queryHeads + keyValueHeads) * headWidth;
  const chunk = Math.min(sizes.prefillChunk, sizes.contextWindow);
  return cache + chunk * perToken * dtypeBytes + 2 * sizes.vocabulary * 4;
}

function invalid(message: string): TransomError {
  return new TransomError("invalid-bundle", message);
}
