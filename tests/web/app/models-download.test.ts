/** A model's files into storage, without a device: what comes, what stays, and what refuses. */
import { describe, expect, it } from "vitest";

import type { LoadProgress } from "../../../web/src/protocol.ts";
import { type Keeping, openBundle } from "../../../web/src/store/bundle.ts";
import { locate } from "../../../web/src/store/location.ts";
import { MEDIA_TYPES } from "../../../web/src/store/manifest.ts";
import { MemoryStore } from "../../../web/src/store/memory.ts";
import { Shelf } from "../../../web/src/store/shelf.ts";
import { type Bytes, digestOf } from "../../../web/src/store/verify.ts";
import { downloadModel } from "../../../web/src/worker/download.ts";
import {
  bytesOf,
  describeFile,
  manifestJson,
  patternBytes,
  tensorCacheJson,
} from "../bundle-fixture.ts";
import { FakeNetwork, ranges } from "../fake-network.ts";
import { ONE_TAB } from "../fake-tabs.ts";

const PIECE_BYTES = 100;
const SHARD = patternBytes(512);
const CONFIG = bytesOf({
  model_config: {
    block_count: 1,
    head_count: 1,
    head_count_kv: 1,
    head_dim: 8,
    embedding_length: 8,
    feed_forward_length: 8,
  },
  vocab_size: 10,
  context_window_size: 16,
  prefill_chunk_size: 16,
});

/** An adapter that is never opened: whoever wants a device of it fails. */
function gpuOf(maxBufferSize = 2 ** 30): GPU {
  const limits = {
    maxBufferSize,
    maxStorageBufferBindingSize: maxBufferSize,
    maxComputeWorkgroupStorageSize: 16384,
  };
  const info = { vendor: "", architecture: "", description: "", isFallbackAdapter: false };
  const adapter = { info, features: new Set(), limits };
  return { requestAdapter: () => Promise.resolve(adapter) } as unknown as GPU;
}

/** A folder on a host, and a browser that keeps what comes from there. */
async function host(store = new MemoryStore(), quotaBytes = Infinity) {
  const base = await manifestJson();
  const manifest = bytesOf({
    ...base,
    config: await describeFile("mlc-chat-config.json", MEDIA_TYPES.config, CONFIG),
  });
  const row = {
    mediaType: MEDIA_TYPES.manifest,
    digest: await digestOf(manifest),
    size: manifest.byteLength,
    platform: { os: "browser", architecture: "webgpu", variant: "f32" },
  };
  const files = new Map<string, Bytes>([
    ["index.json", bytesOf({ schemaVersion: 2, mediaType: MEDIA_TYPES.index, manifests: [row] })],
    ["f32.json", manifest],
    ["mlc-chat-config.json", CONFIG],
    ["tensor-cache.json", bytesOf(await tensorCacheJson())],
    ["library-f32.wasm", bytesOf("wasm")],
    ["library-f32-fallback.wasm", bytesOf("wasm 2")],
    ["params_shard_0.bin", SHARD],
  ]);
  const shelf = new Shelf(store, ONE_TAB, () => 0);
  const keeping: Keeping = {
    store,
    shelf,
    room: () => Promise.resolve({ quotaBytes, usedBytes: 0 }),
    using: (id, work) => ONE_TAB.using(id, work),
  };
  const download = (
    options: {
      gpu?: GPU;
      signal?: AbortSignal;
      onAsked?: (file: string, times: number) => void;
    } = {},
  ) => {
    const asked = new Map<string, number>();
    const network = new FakeNetwork((request) => {
      const file = request.url.split("/").at(-1) ?? "";
      const times = (asked.get(file) ?? 0) + 1;
      asked.set(file, times);
      options.onAsked?.(file, times);
      const bytes = files.get(file);
      return bytes === undefined ? new Response(null, { status: 404 }) : ranges(bytes)(request);
    });
    const signal = options.signal ?? new AbortController().signal;
    const told: LoadProgress[] = [];
    const location = locate({ kind: "folder", baseUrl: "http://host/tiny/" });
    const report = downloadModel(
      {},
      {
        gpu: options.gpu ?? gpuOf(),
        deviceMemory: 4,
        signal,
        openBundle: (meter, onProgress) =>
          openBundle(location, {
            ...network.options,
            // As real ones do, it breaks off what is on its way.
            fetch: async (input, init) => {
              const response = await network.fetch(input, init);
              await new Promise((resolve) => setTimeout(resolve));
              init?.signal?.throwIfAborted();
              return response;
            },
            keeping,
            meter,
            onProgress,
            signal,
            pieceBytes: PIECE_BYTES,
          }),
      },
      (progress) => {
        told.push(progress);
      },
    );
    return { report, told, asked };
  };
  return { download, shelf };
}

describe("downloadModel", () => {
  it("brings all files in, tells how far it is, and opens no device", async () => {
    const { download, shelf } = await host();
    const { report, told } = download();
    const done = await report;
    const [model] = await shelf.sizes();
    expect(model?.storedBytes).toBe(model?.totalBytes);
    expect(done).toMatchObject({ model: "tiny", removed: [] });
    expect(done.bytesDownloaded + done.bytesFromCache).toBe(done.totalBytes);
    expect(told.map(({ phase }) => phase)).toEqual(
      expect.arrayContaining(["manifest", "weights", "ready"]),
    );
    expect(told.at(-1)).toMatchObject({ doneBytes: done.totalBytes, totalBytes: done.totalBytes });
    expect(told.some(({ fit }) => fit !== null && fit.downloadBytes > 0)).toBe(true);
  });

  it("goes on where it was stopped: no piece comes twice", async () => {
    const { download, shelf } = await host();
    const controller = new AbortController();
    const first = download({
      signal: controller.signal,
      onAsked: (file, times) => {
        // The last of six pieces: by now others have come.
        if (file === "params_shard_0.bin" && times === 6) {
          controller.abort();
        }
      },
    });
    await expect(first.report).rejects.toMatchObject({ code: "aborted" });
    const [before] = await shelf.sizes();
    expect(before?.storedBytes).toBeLessThan(before?.totalBytes ?? 0);

    const second = download();
    const done = await second.report;
    const [after] = await shelf.sizes();
    expect(after?.storedBytes).toBe(after?.totalBytes);
    expect(second.asked.get("params_shard_0.bin")).toBeLessThan(6);
    expect(done.bytesFromCache).toBeGreaterThan(0);

    const third = download();
    expect((await third.report).bytesDownloaded).toBe(0);
    expect(third.asked.has("params_shard_0.bin")).toBe(false);
  });

  it("refuses before the weights where there is no room to keep them", async () => {
    const { download } = await host(new MemoryStore(), 300);
    const { report, asked } = download();
    await expect(report).rejects.toMatchObject({
      code: "no-room",
      message: expect.stringContaining("no room to keep") as string,
    });
    expect(asked.has("params_shard_0.bin")).toBe(false);
  });

  it("brings in what memory cannot hold today, and not what no adapter of this kind can", async () => {
    const { download } = await host();
    await expect(download({ gpu: gpuOf(64) }).report).rejects.toMatchObject({
      code: "adapter-too-small",
      message: expect.stringContaining("no GGUF") as string,
    });
  });
});
