/**
 * Counts what a program asks of WebGPU, whoever it is: the same file watches our engine and others'.
 *
 * Wraps the methods of WebGPU's own classes, so it must run before a device is asked for. It can
 * also let a program pretend: nothing is submitted and every wait is over at once, so that what is
 * left is the work of the CPU. Knows no engine; runs in Node, in a page and in a worker.
 */

/** Sums since the start, but for the last two. */
export interface GpuCounts {
  dispatches: number;
  submits: number;
  /** `mapAsync` for reading: the CPU waits for the GPU. */
  readBacks: number;
  bufferWrites: number;
  bytesWritten: number;
  bindGroups: number;
  pipelines: number;
  /** Shaders whose threads hand values to each other. */
  subgroupShaders: number;
  /** Bytes of all buffers that exist. */
  liveBytes: number;
  peakBytes: number;
}

export interface GpuCounter {
  read(): GpuCounts;
  /** From now on the GPU gets nothing to do, and what is read from it is made up. */
  pretend(): void;
}

/** Made-up answers are small integers, different ones: engines take them for ordinary tokens. */
const FIRST_MADE_UP = 1000;
const MADE_UP_IDS = 20_000;

/** WGSL has to say that it wants them, before anything else. */
const SUBGROUPS = /^\s*enable\b[^;]*\bsubgroups\b/m;

export function countGpu(): GpuCounter {
  const counts: GpuCounts = {
    dispatches: 0,
    submits: 0,
    readBacks: 0,
    bufferWrites: 0,
    bytesWritten: 0,
    bindGroups: 0,
    pipelines: 0,
    subgroupShaders: 0,
    liveBytes: 0,
    peakBytes: 0,
  };
  const sizes = new WeakMap<GPUBuffer, number>();
  const pretended = new WeakSet<GPUBuffer>();
  let isPretending = false;
  let madeUp = 0;

  const countDispatch = (_: unknown, __: unknown, go: () => undefined) => {
    counts.dispatches++;
    go();
    return undefined;
  };
  wrap(GPUComputePassEncoder, "dispatchWorkgroups", countDispatch);
  wrap(GPUComputePassEncoder, "dispatchWorkgroupsIndirect", countDispatch);
  wrap(GPUQueue, "submit", (_, __, go) => {
    counts.submits++;
    if (!isPretending) {
      go();
    }
    return undefined;
  });
  wrap(GPUQueue, "onSubmittedWorkDone", (_, __, go) =>
    isPretending ? Promise.resolve(undefined) : go(),
  );
  wrap(GPUQueue, "writeBuffer", (_, [, , data, start = 0, length], go) => {
    const unit = "BYTES_PER_ELEMENT" in data ? Number(data.BYTES_PER_ELEMENT) : 1;
    counts.bufferWrites++;
    counts.bytesWritten += length === undefined ? data.byteLength - start * unit : length * unit;
    go();
    return undefined;
  });
  wrap(GPUDevice, "createBuffer", (_, [{ size }], go) => {
    const buffer = go();
    sizes.set(buffer, size);
    counts.liveBytes += size;
    counts.peakBytes = Math.max(counts.peakBytes, counts.liveBytes);
    return buffer;
  });
  wrap(GPUBuffer, "destroy", (buffer, _, go) => {
    counts.liveBytes -= sizes.get(buffer) ?? 0;
    sizes.delete(buffer);
    go();
    return undefined;
  });
  wrap(GPUDevice, "createBindGroup", (_, __, go) => {
    counts.bindGroups++;
    return go();
  });
  wrap(GPUDevice, "createComputePipeline", (_, __, go) => {
    counts.pipelines++;
    return go();
  });
  wrap(GPUDevice, "createComputePipelineAsync", (_, __, go) => {
    counts.pipelines++;
    return go();
  });
  wrap(GPUDevice, "createShaderModule", (_, [{ code }], go) => {
    counts.subgroupShaders += SUBGROUPS.test(code) ? 1 : 0;
    return go();
  });
  wrap(GPUBuffer, "mapAsync", (buffer, [mode], go) => {
    counts.readBacks += mode === GPUMapMode.READ ? 1 : 0;
    if (!isPretending) {
      return go();
    }
    pretended.add(buffer);
    return Promise.resolve(undefined);
  });
  wrap(GPUBuffer, "getMappedRange", (buffer, [start = 0, length], go) => {
    if (!pretended.has(buffer)) {
      return go();
    }
    madeUp = (madeUp + 1) % MADE_UP_IDS;
    const words = new Int32Array((length ?? buffer.size - start) / 4);
    return words.fill(FIRST_MADE_UP + madeUp).buffer;
  });
  wrap(GPUBuffer, "unmap", (buffer, _, go) => {
    if (!pretended.delete(buffer)) {
      go();
    }
    return undefined;
  });

  return {
    read: () => ({ ...counts }),
    pretend: () => {
      isPretending = true;
    },
  };
}

type Call = (...args: never[]) => unknown;
type MethodOf<T, K extends keyof T> = Extract<T[K], Call>;

/** Put `body` around a method; `go` does what it did before, with the same arguments. */
function wrap<T extends object, K extends keyof T & string>(
  type: { prototype: T },
  name: K,
  body: (
    self: T,
    args: Parameters<MethodOf<T, K>>,
    go: () => ReturnType<MethodOf<T, K>>,
  ) => ReturnType<MethodOf<T, K>>,
): void {
  const original = type.prototype[name] as MethodOf<T, K>;
  type.prototype[name] = function (this: T, ...args: Parameters<MethodOf<T, K>>) {
    return body(
      this,
      args,
      () => Reflect.apply(original, this, args) as ReturnType<typeof original>,
    );
  } as T[K];
}
