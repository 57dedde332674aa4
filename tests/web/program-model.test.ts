/** Weights on their way to the GPU: every byte in its place, and nothing uploaded twice. */
import { beforeAll, describe, expect, it } from "vitest";

import type { ShardRecord } from "../../web/src/store/tensor-cache.ts";
import type { VerifiedBytes } from "../../web/src/store/verify.ts";
import { ProgramModel } from "../../web/src/worker/program/program-model.ts";
import type { Program } from "../../web/src/worker/program/program.ts";
import { patternBytes } from "./bundle-fixture.ts";

const NO_PROGRAM = { params: [], kernels: new Map(), functions: new Map() } as unknown as Program;

/** A device that keeps what is written, and refuses what WebGPU refuses. */
class FakeDevice {
  readonly buffers = new Map<string, Uint8Array>();
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

  addEventListener(): void {
    // Nothing ever fails here.
  }

  createBuffer({ label, size }: { label: string; size: number }): Uint8Array {
    const buffer = new Uint8Array(size);
    this.buffers.set(label, buffer);
    return buffer;
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
