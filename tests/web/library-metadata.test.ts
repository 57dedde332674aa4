import { describe, expect, it } from "vitest";

import type { TensorRecord } from "../../web/src/store/tensor-cache.ts";
import { parseLibraryMetadata, requireMatch } from "../../web/src/worker/library-metadata.ts";

const METADATA = {
  kv_state_kind: "kv_cache",
  context_window_size: 2048,
  prefill_chunk_size: 512,
  max_batch_size: 1,
  params: [{ name: "a.q", shape: [4, 8], dtype: "uint32", preprocs: [] }],
  transom: { compute_dtype: "float32", schedule: "gpu" },
};
const TENSOR: TensorRecord = {
  name: "a.q",
  shape: [4, 8],
  dtype: "uint32",
  format: "raw",
  byteOffset: 0,
  sizeBytes: 128,
};

describe("library metadata", () => {
  it("is read from MLC's JSON", () => {
    expect(parseLibraryMetadata(JSON.stringify(METADATA))).toEqual({
      task: "chat",
      contextWindowSize: 2048,
      prefillChunkSize: 512,
      computeDtype: "float32",
      params: [{ name: "a.q", shape: [4, 8], dtype: "uint32" }],
    });
  });

  it.each([
    ["q4f16_1", "float16"],
    ["q4f32_1", "float32"],
    ["q0f16", "float16"],
    ["q8", "unknown"],
  ])("of MLC's libraries tells the compute type by the quantization %s", (quantization, dtype) => {
    const { transom, kv_state_kind, ...others } = METADATA;
    expect([transom, kv_state_kind]).toBeDefined();
    const metadata = parseLibraryMetadata(JSON.stringify({ ...others, quantization }));
    expect(metadata.computeDtype).toBe(dtype);
    expect(metadata.task).toBe("chat");
  });

  it("of an encoder keeps nothing between calls", () => {
    const text = JSON.stringify({ ...METADATA, kv_state_kind: "none" });
    expect(parseLibraryMetadata(text).task).toBe("embedding");
  });

  it.each([
    [{ ...METADATA, kv_state_kind: "rnn_state" }, /kv_state_kind must be kv_cache or none/],
    [{ ...METADATA, prefill_chunk_size: 0 }, /prefill_chunk_size must be between/],
    [{ ...METADATA, transom: 1 }, /transom must be an object/],
    [{ ...METADATA, transom: undefined }, /quantization must be a string/],
  ])("refuses what this engine cannot run", (metadata, message) => {
    expect(() => parseLibraryMetadata(JSON.stringify(metadata))).toThrow(message);
  });

  it("must match the shards, parameter by parameter", () => {
    const { params } = parseLibraryMetadata(JSON.stringify(METADATA));
    expect(() => {
      requireMatch(params, [TENSOR]);
    }).not.toThrow();
    expect(() => {
      requireMatch(params, []);
    }).toThrow(/hold no parameter a.q \(uint32\[4, 8\]\)/);
    expect(() => {
      requireMatch(params, [{ ...TENSOR, shape: [8, 4] }]);
    }).toThrow(/a.q is uint32\[8, 4\] in the shards, .*compiled for uint32\[4, 8\]/);
  });
});
