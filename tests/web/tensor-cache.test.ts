import { describe, expect, it } from "vitest";

import { parseManifest } from "../../web/src/store/manifest.ts";
import { parseTensorCache } from "../../web/src/store/tensor-cache.ts";
import { bytesOf, manifestJson, tensorCacheJson } from "./bundle-fixture.ts";

type Cache = Awaited<ReturnType<typeof tensorCacheJson>>;
type Shard = Cache["records"][number];
type Tensor = Shard["records"][number];

async function parse(bend: (shard: Shard, tensor: Tensor) => void = () => undefined) {
  const cache = await tensorCacheJson();
  const [shard] = cache.records;
  const [tensor] = shard?.records ?? [];
  if (shard === undefined || tensor === undefined) {
    throw new Error("the fixture is empty");
  }
  bend(shard, tensor);
  return parseTensorCache(bytesOf(cache), parseManifest(bytesOf(await manifestJson())));
}

describe("parseTensorCache", () => {
  it("says where each tensor lies", async () => {
    const [shard] = await parse();
    expect(shard?.file.title).toBe("params_shard_0.bin");
    expect(shard?.tensors).toEqual([
      { name: "a.q", shape: [4, 8], dtype: "uint32", format: "raw", byteOffset: 0, sizeBytes: 128 },
      { name: "b", shape: [16], dtype: "float32", format: "raw", byteOffset: 256, sizeBytes: 64 },
    ]);
  });

  it("takes what MLC's shards hold beside ours: half floats, float32 kept as bfloat16", async () => {
    const [half] = await parse((_, tensor) => {
      Object.assign(tensor, { dtype: "float16", shape: [4, 15], byteOffset: 2, nbytes: 120 });
    });
    expect(half?.tensors[0]).toMatchObject({ dtype: "float16", byteOffset: 2, sizeBytes: 120 });
    const [packed] = await parse((_, tensor) => {
      Object.assign(tensor, { dtype: "float32", shape: [64], format: "f32-to-bf16" });
    });
    expect(packed?.tensors[0]).toMatchObject({ dtype: "float32", format: "f32-to-bf16" });
  });

  it.each<[string, (shard: Shard, tensor: Tensor) => void, RegExp]>([
    ["a shard the manifest does not have", (s) => (s.dataPath = "other.bin"), /not a shard/],
    ["a path that climbs", (s) => (s.dataPath = "../params_shard_0.bin"), /not a shard/],
    ["another size than the manifest's", (s) => (s.nbytes = 511), /must be the manifest's 512/],
    ["another digest than the manifest's", (s) => (s.sha256 = "0".repeat(64)), /must be the/],
    ["a tensor past the end", (_, t) => (t.byteOffset = 388), /byteOffset must be between/],
    ["a tensor before the start", (_, t) => (t.byteOffset = -4), /byteOffset must be between/],
    ["a tensor between words", (_, t) => (t.byteOffset = 2), /multiple of 4/],
    ["a size that is not shape times type", (_, t) => (t.nbytes = 124), /must be 128 for a.q/],
    [
      "a shape whose product overflows",
      (_, t) => (t.shape = [2 ** 31 - 1, 2 ** 31 - 1]),
      /must be/,
    ],
    ["an empty dimension", (_, t) => (t.shape = [0, 8]), /must be between 1/],
    ["an unknown type", (_, t) => (t.dtype = "float8"), /float8, which this version/],
    ["an unknown format", (_, t) => (t.format = "zip"), /format must be raw, not zip/],
    ["integers kept as bfloat16", (_, t) => (t.format = "f32-to-bf16"), /format must be raw/],
    ["the same tensor twice", (_, t) => (t.name = "b"), /holds b a second time/],
  ])("refuses %s", async (_, bend, message) => {
    await expect(parse(bend)).rejects.toThrow(message);
  });

  it("refuses a shard of the manifest that it says nothing about", async () => {
    const cache = { ...(await tensorCacheJson()), records: [] };
    const manifest = parseManifest(bytesOf(await manifestJson()));
    expect(() => parseTensorCache(bytesOf(cache), manifest)).toThrow(
      /does not say what is in params_shard_0.bin/,
    );
  });
});
