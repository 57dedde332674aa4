import { describe, expect, it } from "vitest";

import { TransomError } from "../../web/src/errors.ts";
import type { AdapterReport } from "../../web/src/protocol.ts";
import { openBundle } from "../../web/src/store/bundle.ts";
import type { BundleReader } from "../../web/src/store/bundle-reader.ts";
import { locate } from "../../web/src/store/location.ts";
import { MEDIA_TYPES } from "../../web/src/store/manifest.ts";
import { ByteMeter } from "../../web/src/store/progress.ts";
import { digestOf } from "../../web/src/store/verify.ts";
import { budgetOf } from "../../web/src/worker/budget.ts";
import { estimate } from "../../web/src/worker/memory-estimate.ts";
import { poolTokens } from "../../web/src/worker/program/pool-size.ts";
import type { Program } from "../../web/src/worker/program/program.ts";
import { problemsOf, requireFit, survey } from "../../web/src/worker/survey.ts";
import { bytesOf, describeFile, manifestJson, tensorCacheJson } from "./bundle-fixture.ts";
import { FakeNetwork } from "./fake-network.ts";

const GIB = 1024 ** 3;
const ADAPTER: AdapterReport = {
  vendor: "",
  architecture: "",
  description: "",
  isFallback: true,
  hasShaderF16: false,
  workgroupBytes: 16384,
};
const MACHINE = {
  adapter: ADAPTER,
  deviceMemory: 4,
  maxBufferSize: GIB,
  maxStorageBufferBindingSize: GIB,
};
const CONFIG = {
  model_config: {
    block_count: 2,
    head_count: 4,
    head_count_kv: 2,
    head_dim: 8,
    embedding_length: 32,
    feed_forward_length: 64,
  },
  vocab_size: 100,
  context_window_size: 40,
  prefill_chunk_size: 16,
};
/** 48 tokens in whole pages and one page more; two layers of two heads of 8, keys and values. */
const CACHE_F32 = 64 * 2 * 2 * 2 * 8 * 4;
const SCRATCH_F32 = 16 * (4 * 32 + 2 * 64 + 2 * (4 + 2) * 8) * 4 + 2 * 100 * 4;
const shard = (sizeBytes: number, format: "raw" | "f32-to-bf16" = "raw") => ({
  file: {} as never,
  tensors: [{ name: "w", shape: [1], dtype: "float32", format, byteOffset: 0, sizeBytes }],
});

describe("estimate", () => {
  const facts = {
    shards: [shard(1000)],
    program: null,
    dtypeBytes: 4,
    bufferBytes: GIB,
    contextWindow: Infinity,
  };

  it("adds weights, KV cache and scratch", () => {
    const told = estimate({ ...facts, config: bytesOf(CONFIG) });
    expect(told).toEqual({
      largest: { name: "w", sizeBytes: 1000 },
      totalBytes: 1000 + CACHE_F32 + SCRATCH_F32,
    });
  });

  it("reads the names of MLC's configs", () => {
    const config = {
      ...CONFIG,
      model_config: {
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        hidden_size: 32,
        intermediate_size: 64,
      },
    };
    expect(estimate({ ...facts, config: bytesOf(config) }).totalBytes).toBe(
      1000 + CACHE_F32 + SCRATCH_F32,
    );
  });

  it("takes a program's word", () => {
    const program = {
      memory: { weights: 1, kvBytesPerToken: 4096, scratch: 50 },
      layers: 2,
      contextWindowSize: 64,
      prefillChunkSize: 0,
      pagesPerSlot: 0,
      vocabularySize: 0,
      rows: 0,
      slots: 3,
    } as Partial<Program> as Program;
    const config = bytesOf(CONFIG);
    const history = 3 * 65 * 4;
    // The cache is for several conversations of what the config allows at once.
    expect(estimate({ ...facts, config, program }).totalBytes).toBe(
      1000 + poolTokens(40, 4096, 2, GIB) * 4096 + 50 + history,
    );
    const short = estimate({ ...facts, config, program, contextWindow: 8 });
    expect(short.totalBytes).toBe(1000 + poolTokens(8, 4096, 2, GIB) * 4096 + 50 + history);
    // A layer's pages are one buffer, too.
    const { largest } = estimate({ ...facts, shards: [shard(40 * 2048 - 1)], config, program });
    expect(largest).toEqual({ name: "KV cache of 40 tokens", sizeBytes: 40 * 2048 });
    expect(estimate({ ...facts, shards: [shard(40 * 2048)], config, program }).largest.name).toBe(
      "w",
    );
  });

  it("holds a library's cache to what a Modelfile wants", () => {
    const config = bytesOf(CONFIG);
    const whole = estimate({ ...facts, config }).totalBytes;
    expect(estimate({ ...facts, config, contextWindow: 8 }).totalBytes).toBeLessThan(whole);
  });

  it("counts bfloat16 as the float32 that it becomes, and guesses what nobody says", () => {
    const shards = [shard(1000, "f32-to-bf16")];
    expect(estimate({ ...facts, shards, config: bytesOf({}) })).toEqual({
      largest: { name: "w", sizeBytes: 2000 },
      totalBytes: 2200,
    });
  });
});

describe("budgetOf", () => {
  it("obeys who knows better", () => {
    expect(budgetOf(MACHINE, 7).bytes).toBe(7);
  });

  it("takes most of what the browser reports, else what the adapter promises", () => {
    expect(budgetOf(MACHINE, undefined)).toEqual({
      bytes: 3 * GIB,
      reason: expect.stringContaining("4 GiB") as string,
    });
    expect(budgetOf({ ...MACHINE, deviceMemory: null }, undefined).bytes).toBe(2 * GIB);
    expect(budgetOf({ ...MACHINE, deviceMemory: 0.25 }, undefined).bytes).toBe(GIB);
  });
});

describe("problemsOf", () => {
  const memory = { largest: { name: "w", sizeBytes: 100 }, totalBytes: 1000 };
  const budget = { bytes: 1000, reason: "a test" };
  const room = { storedBytes: 0, missingBytes: 500, freeBytes: 300, evictableBytes: 200 };

  it("has none where all just fits", () => {
    const machine = { ...MACHINE, maxBufferSize: 100, maxStorageBufferBindingSize: 100 };
    expect(problemsOf(memory, budget, room, machine)).toEqual([]);
  });

  it.each([
    [{ machine: { maxStorageBufferBindingSize: 99 } }, "adapter-too-small", /w has 100/],
    [{ budget: { bytes: 999 } }, "out-of-memory", /about 1 MB .*a test/],
    [{ room: { evictableBytes: 199 } }, "no-room", /no room to keep/],
  ])("finds %j", (change: Record<string, object>, code, message) => {
    const [problem, ...others] = problemsOf(
      memory,
      { ...budget, ...change["budget"] },
      { ...room, ...change["room"] },
      { ...MACHINE, ...change["machine"] },
    );
    expect(others).toEqual([]);
    expect(problem?.code).toBe(code);
    expect(problem?.message).toMatch(message);
  });

  it("has nothing to say of storage where nothing is kept", () => {
    expect(problemsOf(memory, budget, { ...room, freeBytes: null }, MACHINE)).toEqual([]);
  });

  it("refuses what cannot run always, an estimate unless forced, a full disk never", () => {
    const fit = (refusal: "always" | "unless-forced" | "never") =>
      ({ problems: [{ code: "no-room", message: "no", refusal }] }) as never;
    expect(() => {
      requireFit(fit("always"), true);
    }).toThrow("no");
    expect(() => {
      requireFit(fit("unless-forced"), false);
    }).toThrow("no");
    requireFit(fit("unless-forced"), true);
    requireFit(fit("never"), false);
  });
});

describe("survey", () => {
  it("asks for small files only", async () => {
    const config = bytesOf(CONFIG);
    const cache = bytesOf(await tensorCacheJson());
    const base = await manifestJson();
    const manifest = bytesOf({
      ...base,
      config: await describeFile("mlc-chat-config.json", MEDIA_TYPES.config, config),
    });
    const row = {
      mediaType: MEDIA_TYPES.manifest,
      digest: await digestOf(manifest),
      size: manifest.byteLength,
      platform: { os: "browser", architecture: "webgpu", variant: "f32" },
    };
    const index = bytesOf({ schemaVersion: 2, manifests: [row] });
    const files = new Map([
      ["index.json", index],
      ["f32.json", manifest],
      ["mlc-chat-config.json", config],
      ["tensor-cache.json", cache],
    ]);
    const network = new FakeNetwork(({ url }) => {
      const bytes = files.get(url.split("/").at(-1) ?? "");
      return bytes === undefined ? new Response(null, { status: 500 }) : new Response(bytes);
    });
    const meter = new ByteMeter(() => 0);
    const location = locate({ kind: "folder", baseUrl: "http://host/tiny/" });
    const bundle = openBundle(location, { ...network.options, keeping: null, meter });
    const { fit, choice, shards } = await survey(bundle, MACHINE, {}, undefined);
    expect(network.asked).toHaveLength(4);
    expect(choice.schedule).toBe("fallback");
    expect(shards).toHaveLength(1);
    const total = 512 + config.byteLength + cache.byteLength + bytesOf("wasm 2").byteLength;
    expect(fit).toMatchObject({
      variant: "f32",
      downloadBytes: total,
      storedBytes: 0,
      storageFreeBytes: null,
      gpuBytes: 128 + 64 + CACHE_F32 + SCRATCH_F32,
      problems: [],
    });
  });

  /** A bundle that tells when its index is asked for, and has none. */
  function asked() {
    const questions: string[] = [];
    const bundle = {
      readIndex: () => {
        questions.push("index");
        return Promise.reject(new TransomError("model-not-found", "no index"));
      },
    } as unknown as BundleReader;
    return { questions, bundle };
  }

  it("asks for the index before it knows the machine", async () => {
    const { questions, bundle } = asked();
    let know: (machine: typeof MACHINE) => void = () => undefined;
    const machine = new Promise<typeof MACHINE>((resolve) => {
      know = resolve;
    });
    const found = survey(bundle, machine, {}, undefined);
    expect(questions).toEqual(["index"]);
    know(MACHINE);
    await expect(found).rejects.toThrow("no index");
  });

  it("tells first what is wrong with the machine", async () => {
    const nobody = Promise.reject(new TransomError("no-adapter", "no adapter"));
    await expect(survey(asked().bundle, nobody, {}, undefined)).rejects.toThrow("no adapter");
  });
});
