import { describe, expect, it } from "vitest";

import type { AdapterReport, LoadRequest } from "../../web/src/protocol.ts";
import { parseIndex, parseManifest } from "../../web/src/store/manifest.ts";
import { describeAdapter, subgroupThreads } from "../../web/src/support.ts";
import { chooseLibrary, chooseVariant } from "../../web/src/worker/choose.ts";
import { bytesOf, indexJson, manifestJson } from "./bundle-fixture.ts";

function adapter(
  isFallback: boolean,
  hasShaderF16: boolean,
  workgroupBytes = 32_768,
): AdapterReport {
  const names = { vendor: "v", architecture: "a", description: "" };
  return { ...names, isFallback, hasShaderF16, workgroupBytes };
}

const GPU_F16 = adapter(false, true);
const GPU_F32 = adapter(false, false);
const GPU_SMALL = adapter(false, true, 32_767);
const CPU_F16 = adapter(true, true);
const CPU_F32 = adapter(true, false);

describe("chooseVariant", () => {
  it.each<[string, AdapterReport, LoadRequest["overrides"], string]>([
    ["f16 on a GPU that has it", GPU_F16, {}, "f16"],
    ["f32 on a GPU without shader-f16", GPU_F32, {}, "f32"],
    ["f32 on a GPU with too little workgroup memory for f16", GPU_SMALL, {}, "f32"],
    ["f32 on the CPU, also with shader-f16", CPU_F16, {}, "f32"],
    ["what the address forces", GPU_F16, { variant: "f32" }, "f32"],
  ])("takes %s", async (_, machine, overrides, expected) => {
    const index = parseIndex(bytesOf(await indexJson()));
    expect(chooseVariant(index, machine, overrides).platform?.variant).toBe(expected);
  });

  it("says what there is when nothing fits", async () => {
    const index = parseIndex(bytesOf(await indexJson()));
    expect(() => chooseVariant(index, GPU_F32, { variant: "f16" })).toThrow(
      /no variant f16 .*it has: f16, f32; this adapter has no shader-f16/,
    );
    expect(() => chooseVariant(index, GPU_SMALL, { variant: "f16" })).toThrow(
      /f16 needs 32768 bytes of workgroup memory, this adapter has 32767/,
    );
    expect(() => chooseVariant({ ...index, manifests: [] }, GPU_F16, {})).toThrow(/it has: none/);
  });
});

describe("chooseLibrary", () => {
  it.each<[string, AdapterReport, LoadRequest["overrides"], string, string]>([
    ["a GPU", GPU_F32, {}, "library-f32.wasm", "ahead"],
    ["the CPU", CPU_F32, {}, "library-f32-fallback.wasm", "ahead"],
    ["a forced schedule", CPU_F32, { schedule: "gpu" }, "library-f32.wasm", "ahead"],
    ["forced pipelines", CPU_F32, { pipelines: "lazy" }, "library-f32-fallback.wasm", "lazy"],
  ])("fits %s", async (_, machine, overrides, title, pipelines) => {
    const manifest = parseManifest(bytesOf(await manifestJson()));
    const choice = chooseLibrary(manifest, machine, overrides);
    expect(choice.file.title).toBe(title);
    expect(choice.pipelines).toBe(pipelines);
  });

  it("takes the GPU library on the CPU where there is no other (f16)", async () => {
    const manifest = parseManifest(bytesOf(await manifestJson()));
    const one = { ...manifest, layers: manifest.layers.slice(0, 3) };
    expect(chooseLibrary(one, CPU_F16, {}).schedule).toBe("gpu");
    expect(() => chooseLibrary(one, CPU_F16, { schedule: "fallback" })).toThrow(/it has: gpu/);
  });
});

describe("describeAdapter", () => {
  const features = new Set<string>();
  const limits = { maxComputeWorkgroupStorageSize: 16_384 };
  const info = { vendor: "", architecture: "", description: "" };

  it.each([
    [{ ...info, vendor: "google", architecture: "swiftshader" }, true],
    [{ ...info, vendor: "mesa", description: "llvmpipe (LLVM 15.0.6, 256 bits)" }, true],
    [{ ...info, vendor: "microsoft", description: "Microsoft Basic Render Driver" }, true],
    [{ ...info, isFallbackAdapter: true }, true],
    [{ ...info, vendor: "nvidia", architecture: "hopper" }, false],
    [{ ...info, vendor: "intel", description: "Warped Graphics 9" }, false],
    [info, false],
  ])("knows from %o whether it is a program on the CPU", (adapterInfo, expected) => {
    expect(describeAdapter({ info: adapterInfo, features, limits }).isFallback).toBe(expected);
  });
});

describe("subgroupThreads", () => {
  it.each([
    ["as many as every subgroup has", ["shader-f16", "subgroups"], { subgroupMinSize: 8 }, 8],
    ["none without the feature", ["shader-f16"], { subgroupMinSize: 8 }, 0],
  ])("tells %s", (_, features, adapterInfo, expected) => {
    const device = { features: new Set(features), adapterInfo } as unknown as GPUDevice;
    expect(subgroupThreads(device)).toBe(expected);
  });
});
