/**
 * A model library (wasm + WGSL) on one GPU device, through tvmjs: start it, fill it, call it, and
 * say in words what broke.
 *
 * Objects that TVM hands out are released at the end of the scope they were made in; what lives
 * longer is detached (`keep`) and goes with `dispose`. Whatever breaks below (C++ abort, lost
 * device, validation error) comes out of the next call as one readable TransomError, and every
 * later call too. Knows no tokens: `tvm-runtime.ts` speaks with it, `tvm-encoder.ts` encodes.
 */
import * as tvmjs from "@mlc-ai/web-runtime";

import { TransomError, describe } from "../errors.ts";
import type { ShardRecord } from "../store/tensor-cache.ts";
import type { VerifiedBytes } from "../store/verify.ts";
import { widenBf16 } from "./bf16.ts";
import { GpuWatch } from "./gpu-watch.ts";
import { type LibraryMetadata, parseLibraryMetadata } from "./library-metadata.ts";
import { essenceOf } from "./tvm-message.ts";
import { Wasi } from "./wasi.ts";

const WORD_BYTES = 4;

export class TvmLibrary {
  readonly metadata: LibraryMetadata;
  readonly tvm: tvmjs.Instance;
  readonly device: tvmjs.DLDevice;
  readonly #wasi: Wasi;
  readonly #machine: tvmjs.VirtualMachine;
  readonly #uploaded = new Set<string>();
  readonly #watch: GpuWatch;

  private constructor(tvm: tvmjs.Instance, wasi: Wasi, gpuDevice: GPUDevice) {
    this.tvm = tvm;
    this.#wasi = wasi;
    this.#watch = new GpuWatch(gpuDevice, (error) => this.#explain(error));
    tvm.initWebGPU(gpuDevice);
    this.device = tvm.webgpu();
    const loaded = this.scoped(() => {
      const machine = tvm.detachFromCurrentScope(tvm.createVirtualMachine(this.device));
      const text = machine.getFunction("_metadata")() as string;
      return { machine, metadata: parseLibraryMetadata(text) };
    });
    this.#machine = loaded.machine;
    this.metadata = loaded.metadata;
  }

  /** Compile the library and start it on the device. No parameter is loaded yet. */
  static async start(library: VerifiedBytes, gpuDevice: GPUDevice): Promise<TvmLibrary> {
    const wasi = new Wasi();
    let tvm: tvmjs.Instance;
    try {
      tvm = await tvmjs.instantiate(library.buffer, wasi);
    } catch (error) {
      const words = wasi.lastWords();
      throw new TransomError(
        "engine-crashed",
        `The model library does not start: ${essenceOf(words === "" ? describe(error) : words)}`,
        { cause: error },
      );
    }
    return new TvmLibrary(tvm, wasi, gpuDevice);
  }

  /** Build all GPU pipelines now, side by side. @param onProgress part done, 0 to 1. */
  async buildPipelines(onProgress: (fraction: number) => void): Promise<void> {
    this.tvm.registerInitProgressCallback((report) => {
      onProgress(report.progress);
    });
    await this.#watch.wait(this.tvm.asyncLoadWebGPUPipelines(this.#machine.getInternalModule()));
    onProgress(1);
  }

  /** Copy a shard's tensors to the GPU straight from its verified bytes. */
  async upload(shard: ShardRecord, bytes: VerifiedBytes): Promise<void> {
    this.scoped(() => {
      for (const { name, shape, dtype, format, byteOffset, sizeBytes } of shard.tensors) {
        const stored = bytes.subarray(byteOffset, byteOffset + sizeBytes);
        const data = format === "raw" ? stored : widenBf16(stored);
        const tensor = this.tvm.empty([...shape], dtype, this.device);
        if (data.byteLength % WORD_BYTES === 0) {
          tensor.copyFromRawBytes(data);
        } else {
          // A GPU copy is of whole words; tvmjs pads what comes from one of its own tensors.
          const onCpu = this.tvm.empty([...shape], dtype, this.tvm.cpu());
          tensor.copyFrom(onCpu.copyFromRawBytes(data));
        }
        this.tvm.tensorCacheUpdate(name, tensor);
        this.#uploaded.add(name);
      }
    });
    // Bounds what the browser has staged to one shard.
    await this.settle();
  }

  /** After the last shard: all parameters, in the order that the library takes them. */
  bindParameters(): tvmjs.TVMObject {
    return this.scoped(() => {
      const names = this.metadata.params.map(({ name }) => name);
      const missing = names.find((name) => !this.#uploaded.has(name));
      if (missing !== undefined) {
        throw new TransomError("invalid-bundle", `The bundle has no parameter ${missing}.`);
      }
      const params = this.keep(this.tvm.getParamsFromCacheByName(names));
      // The parameter list holds the tensors from here on.
      this.tvm.tensorCacheClear();
      return params;
    });
  }

  /** A function of the library; call within `scoped`. */
  own(name: string): tvmjs.PackedFunc {
    return this.keep(this.#machine.getFunction(name));
  }

  /** A function that not every library has, or null; call within `scoped`. */
  find(name: string): tvmjs.PackedFunc | null {
    try {
      return this.own(name);
    } catch {
      // The runtime has no way to ask. It looks the name up before it does anything else.
      return null;
    }
  }

  /** A function of the runtime; call within `scoped`. */
  builtin(name: string): tvmjs.PackedFunc {
    return this.keep(this.tvm.getGlobalFunc(name));
  }

  /** Let an object outlive the scope that it was made in. */
  keep<T extends tvmjs.Disposable>(made: T): T {
    return this.tvm.detachFromCurrentScope(made);
  }

  async settle(): Promise<void> {
    await this.#watch.wait(this.device.sync());
  }

  dispose(): void {
    this.#watch.close();
    this.tvm.dispose();
  }

  /** Run synchronous TVM work; release what it made; turn a crash into words. */
  scoped<T>(work: () => T): T {
    this.#watch.throwIfFailed();
    this.tvm.beginScope();
    try {
      const result = work();
      this.tvm.endScope();
      return result;
    } catch (error) {
      throw this.#watch.fail(error);
    }
  }

  /** A wasm trap says only "unreachable"; the reason is in what C++ wrote before. */
  #explain(error: unknown): TransomError {
    const isTrap = error instanceof WebAssembly.RuntimeError;
    const words = isTrap ? this.#lastError() || this.#wasi.lastWords() : "";
    const text = words === "" ? describe(error) : words;
    if (error instanceof RangeError || /out of memory/i.test(text)) {
      return new TransomError(
        "out-of-memory",
        `Not enough memory for this model: ${essenceOf(text)}`,
        {
          cause: error,
        },
      );
    }
    return new TransomError("engine-crashed", `The engine stopped: ${essenceOf(text)}`, {
      cause: error,
    });
  }

  /** Our runtime keeps a C++ exception's message where an abort leaves it readable. */
  #lastError(): string {
    const lastError = this.tvm.exports["transom_last_error"];
    if (lastError === undefined) {
      return "";
    }
    return this.tvm.memory.loadCString((lastError as () => number)());
  }
}
