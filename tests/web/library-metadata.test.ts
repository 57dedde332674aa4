import { describe, expect, it } from "vitest";

import { parseLibraryMetadata, requireMatch } from "../../web/src/worker/library-metadata.ts";

const METADATA = {
  kv_state_kind: "kv_cache",
  context_window_size: 2048,
  prefill_chunk_size: 512,
  max_batch_size: 1,
  params: [{ name: "a.q", shape: [4, 8], dtype: "uint32", preprocs: [] }],
  transom: { compute_dtype: "float32", schedule: "gpu" },
};
const TENSOR = { name: "a.q", shape: [4, 8], dtype: "uint32", byteOffset: 0, sizeBytes: 128 };

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

  it("of an encoder keeps nothing between calls", () => {
    const text = JSON.stringify({ ...METADATA, kv_state_kind: "none" });
    expect(parseLibraryMetadata(text).task).toBe("embedding");
  });

  it.each([
    [{ ...METADATA, kv_state_kind: "rnn_state" }, /kv_state_kind must be kv_cache or none/],
    [{ ...METADATA, prefill_chunk_size: 0 }, /prefill_chunk_size must be between/],
    [{ ...METADATA, transom: undefined }, /transom must be an object/],
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
