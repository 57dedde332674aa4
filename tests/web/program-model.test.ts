/**
 * Weights on their way to the GPU: every byte in its place, and nothing uploaded twice. And kernels:
 * those that are for this device, and no others.
 */
import { beforeAll, describe, expect, it } from "vitest";

import type { ShardRecord } from "../../web/src/store/tensor-cache.ts";
import type { VerifiedBytes } from "../../web/src/store/verify.ts";
import { ProgramModel } from "../../web/src/worker/program/program-model.ts";
import type { Dispatch, Kernel, Program } from "../../web/src/worker/program/program.ts";
import { patternBytes } from "./bundle-fixture.ts";

const NO_PROGRAM = { params: [], kernels: new Map(), functions: new Map() } as unknown as Program;

/** A device that keeps what is written, and refuses what WebGPU refuses. */
class FakeDevice {
  readonly buffers = new Map<string, Uint8Array>();
  readonly shaders: string[] = [];
  readonly features: ReadonlySet<string>;
  readonly adapterInfo: { subgroupMinSize: number };
  readonly lost = new Promise<never>(() => undefined);
  readonly queue = {
    writeBuffer: (
      buffer: Uint8Array,
      at: number,
      data: ArrayBuffer | Uint8Array,
      from = 0,
      size = data.byteLength - from,
    ) => {
      if (at % 4 !== 0 || size % 4 !== 0) {
        throw new TypeError("A write is of whole words.");
      }
      const bytes = data instanceof ArrayBuffer ? new Uint8Array(data) : data;
      buffer.set(bytes.subarray(from, from + size), at);
    },
    onSubmittedWorkDone: () => Promise.resolve(),
  };

  constructor(features: readonly string[] = [], subgroupMinSize = 0) {
    this.features = new Set(features);
    this.adapterInfo = { subgroupMinSize };
  }

  addEventListener(): void {
    // Nothing ever fails here.
  }

  createBuffer({ label, size }: { label: string; size: number }): Uint8Array {
    const buffer = new Uint8Array(size);
    this.buffers.set(label, buffer);
    return buffer;
  }

  createBindGroupLayout(): object {
    return {};
  }

  createPipelineLayout(): object {
    return {};
  }

  createShaderModule({ code }: { code: string }): object {
    this.shaders.push(code);
    return {};
  }

  createComputePipelineAsync(): Promise<object> {
    return Promise.resolve({});
  }
}

function tensor(
  name: string,
  format: "raw" | "f32-to-bf16",
  byteOffset: number,
  sizeBytes: number,
) {
  return { name, shape: [1], dtype: "float32", format, byteOffset, sizeBytes };
}

describe("ProgramModel.upload", () => {
  beforeAll(() => {
    Object.assign(globalThis, { GPUBufferUsage: { STORAGE: 128, COPY_DST: 8 } });
  });

  async function uploaded(...tensors: ReturnType<typeof tensor>[]) {
    const device = new FakeDevice();
    const model = new ProgramModel(NO_PROGRAM, device as unknown as GPUDevice);
    // The bytes of a shard may lie anywhere in their memory.
    const bytes = patternBytes(80).subarray(8) as VerifiedBytes;
    await model.upload({ file: {}, tensors } as unknown as ShardRecord, bytes);
    return { bytes, buffers: device.buffers };
  }

  it("writes each tensor from its place in the shard", async () => {
    const { bytes, buffers } = await uploaded(tensor("a", "raw", 0, 16), tensor("b", "raw", 24, 8));
    expect(buffers.get("a")).toEqual(bytes.slice(0, 16));
    expect(buffers.get("b")).toEqual(bytes.slice(24, 32));
  });

  it.each([1, 2, 3, 5, 7])("fills the last word of %d bytes with zeros", async (size) => {
    const { bytes, buffers } = await uploaded(tensor("odd", "raw", 3, size));
    const padded = new Uint8Array(Math.ceil(size / 4) * 4);
    padded.set(bytes.subarray(3, 3 + size));
    expect(buffers.get("odd")).toEqual(padded);
  });

  it("widens bfloat16 on the way", async () => {
    const { bytes, buffers } = await uploaded(tensor("half", "f32-to-bf16", 2, 4));
    const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(2, 6);
    expect(buffers.get("half")).toEqual(Uint8Array.of(0, 0, a, b, 0, 0, c, d));
  });
});

describe("ProgramModel.buildPipelines", () => {
  beforeAll(() => {
    Object.assign(globalThis, { GPUShaderStage: { COMPUTE: 4 } });
  });

  function kernel(name: string, subgroupSize: number): [string, Kernel] {
    return [name, { name, entry: name, wgsl: name, writes: [true], scalars: 1, subgroupSize }];
  }

  const step: Dispatch = {
    kernel: "plain",
    buffers: [{ kind: "storage", index: 0 }],
    scalars: [],
    grid: [1, 1],
    instead: { kernel: "shared", grid: [2, 1] },
  };
  const program = {
    params: [],
    kernels: new Map([kernel("plain", 0), kernel("shared", 8), kernel("other", 0)]),
    functions: new Map([
      ["decode", { most: 1, steps: [step, { ...step, kernel: "other", instead: undefined }] }],
    ]),
  } as unknown as Program;

  it.each([
    ["a device without subgroups", [], 8, ["plain", "other"]],
    ["subgroups that are too small", ["subgroups"], 4, ["plain", "other"]],
    ["subgroups that are large enough", ["subgroups"], 8, ["shared", "other"]],
  ])("builds the kernels that are for %s", async (_, features, subgroupMinSize, expected) => {
    const device = new FakeDevice(features, subgroupMinSize);
    const model = new ProgramModel(program, device as unknown as GPUDevice);
    await model.buildPipelines(() => undefined);
    expect(device.shaders).toEqual(expected);
  });
});
