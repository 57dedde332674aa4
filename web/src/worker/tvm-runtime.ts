/**
 * A model library (wasm + WGSL) on one GPU device, through tvmjs: the real `ModelRuntime`.
 *
 * Objects that TVM hands out are released at the end of the scope they were made in; what lives
 * longer is detached here and released in `dispose`. tvmjs calls give `any`; each is cast to what
 * the contract in DESIGN 4.4 says it is. Whatever breaks below (C++ abort, lost device, validation
 * error) comes out of the next call as one readable TransomError, and every later call too.
 */
import * as tvmjs from "@mlc-ai/web-runtime";

import { TransomError, describe } from "../errors.ts";
import type { ShardRecord } from "../store/tensor-cache.ts";
import type { VerifiedBytes } from "../store/verify.ts";
import { type LibraryMetadata, parseLibraryMetadata } from "./library-metadata.ts";
import type { ModelRuntime } from "./runtime.ts";
import { essenceOf } from "./tvm-message.ts";
import { Wasi } from "./wasi.ts";

/** Tokens per page of the KV cache, as MLC's libraries have it. */
const PAGE_SIZE = 16;
/** The one sequence that this engine runs. */
const SEQUENCE_ID = 0;
/** How long after a rejected wait the GPU may take to say why. */
const REASON_PATIENCE_MS = 200;

interface Functions {
  embed: tvmjs.PackedFunc;
  prefill: tvmjs.PackedFunc;
  decode: tvmjs.PackedFunc;
  argmax: tvmjs.PackedFunc;
  clear: tvmjs.PackedFunc;
  addSequence: tvmjs.PackedFunc;
  beginForward: tvmjs.PackedFunc;
  endForward: tvmjs.PackedFunc;
}

/** What loading makes, once all parameters are on the GPU. */
interface LoadedState {
  functions: Functions;
  params: tvmjs.TVMObject;
  kvCache: tvmjs.TVMObject;
  /** Holds the token that decode takes, so that no buffer is made per token. */
  decodeInput: tvmjs.Tensor;
  /** Where the chosen token and the logits land on the CPU side. */
  cpuToken: tvmjs.Tensor;
  cpuLogits: tvmjs.Tensor | null;
}

export class TvmRuntime implements ModelRuntime {
  readonly metadata: LibraryMetadata;
  readonly #tvm: tvmjs.Instance;
  readonly #wasi: Wasi;
  readonly #device: tvmjs.DLDevice;
  readonly #machine: tvmjs.VirtualMachine;
  readonly #uploaded = new Set<string>();
  /** Rejects when the GPU fails; raced against every wait, so that no wait is for ever. */
  readonly #failure: Promise<never>;
  #reportFailure: (error: TransomError) => void = () => undefined;
  #failed: TransomError | null = null;
  #state: LoadedState | null = null;
  #logits: tvmjs.Tensor | null = null;

  private constructor(tvm: tvmjs.Instance, wasi: Wasi, gpuDevice: GPUDevice) {
    this.#tvm = tvm;
    this.#wasi = wasi;
    this.#failure = new Promise((_, reject) => {
      this.#reportFailure = reject;
    });
    this.#failure.catch(() => undefined);
    this.#watch(gpuDevice);
    tvm.initWebGPU(gpuDevice);
    this.#device = tvm.webgpu();
    const loaded = this.#scoped(() => {
      const machine = tvm.detachFromCurrentScope(tvm.createVirtualMachine(this.#device));
      const text = machine.getFunction("_metadata")() as string;
      return { machine, metadata: parseLibraryMetadata(text) };
    });
    this.#machine = loaded.machine;
    this.metadata = loaded.metadata;
  }

  /** Compile the library and start it on the device. No parameter is loaded yet. */
  static async start(library: VerifiedBytes, gpuDevice: GPUDevice): Promise<TvmRuntime> {
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
    return new TvmRuntime(tvm, wasi, gpuDevice);
  }

  get contextWindowSize(): number {
    return this.metadata.contextWindowSize;
  }

  get prefillChunkSize(): number {
    return this.metadata.prefillChunkSize;
  }

  /** Build all GPU pipelines now, side by side. @param onProgress part done, 0 to 1. */
  async buildPipelines(onProgress: (fraction: number) => void): Promise<void> {
    this.#tvm.registerInitProgressCallback((report) => {
      onProgress(report.progress);
    });
    await this.#wait(this.#tvm.asyncLoadWebGPUPipelines(this.#machine.getInternalModule()));
    onProgress(1);
  }

  /** Copy a shard's tensors to the GPU straight from its verified bytes. */
  async upload(shard: ShardRecord, bytes: VerifiedBytes): Promise<void> {
    this.#scoped(() => {
      for (const { name, shape, dtype, byteOffset, sizeBytes } of shard.tensors) {
        const tensor = this.#tvm.empty([...shape], dtype, this.#device);
        tensor.copyFromRawBytes(bytes.subarray(byteOffset, byteOffset + sizeBytes));
        this.#tvm.tensorCacheUpdate(name, tensor);
        this.#uploaded.add(name);
      }
    });
    // Bounds what the browser has staged to one shard.
    await this.settle();
  }

  /** After the last shard: bind parameters, make the KV cache. */
  finish(): void {
    this.#scoped(() => {
      const names = this.metadata.params.map(({ name }) => name);
      const missing = names.find((name) => !this.#uploaded.has(name));
      if (missing !== undefined) {
        throw new TransomError("invalid-bundle", `The bundle has no parameter ${missing}.`);
      }
      const tvm = this.#tvm;
      const makeKvCache = this.#machine.getFunction("create_tir_paged_kv_cache");
      const kvCache = makeKvCache(
        tvm.makeShapeTuple([1]),
        tvm.makeShapeTuple([this.contextWindowSize]),
        tvm.makeShapeTuple([this.prefillChunkSize]),
        tvm.makeShapeTuple([PAGE_SIZE]),
        tvm.makeShapeTuple([0]),
      ) as tvmjs.TVMObject;
      this.#state = {
        functions: this.#lookUp(),
        params: tvm.detachFromCurrentScope(tvm.getParamsFromCacheByName(names)),
        kvCache: tvm.detachFromCurrentScope(kvCache),
        decodeInput: tvm.detachFromCurrentScope(tvm.empty([1], "int32", this.#device)),
        cpuToken: tvm.detachFromCurrentScope(tvm.empty([1], "int32", tvm.cpu())),
        cpuLogits: null,
      };
      // The parameter list holds the tensors from here on.
      tvm.tensorCacheClear();
    });
    this.clear();
  }

  clear(): void {
    const { functions, kvCache } = this.#loaded();
    this.#scoped(() => {
      functions.clear(kvCache);
      functions.addSequence(kvCache, this.#tvm.scalar(SEQUENCE_ID, "int64"));
    });
  }

  forward(tokenIds: readonly number[]): void {
    const { functions, kvCache, params } = this.#loaded();
    this.#scoped(() => {
      const tvm = this.#tvm;
      const count = tokenIds.length;
      const embedded = functions.embed(this.#placeTokens(tokenIds), params) as tvmjs.Tensor;
      const input = embedded.view([1, ...embedded.shape]);
      functions.beginForward(
        kvCache,
        tvm.makeShapeTuple([SEQUENCE_ID]),
        tvm.makeShapeTuple([count]),
      );
      const step = count === 1 ? functions.decode : functions.prefill;
      const output = step(input, kvCache, params) as tvmjs.TVMArray;
      functions.endForward(kvCache);
      this.#logits?.dispose();
      this.#logits = tvm.detachFromCurrentScope(output.get(0) as tvmjs.Tensor);
    });
  }

  async argmax(): Promise<number> {
    const { functions, cpuToken } = this.#loaded();
    this.#scoped(() => {
      cpuToken.copyFrom(functions.argmax(this.#lastLogits()) as tvmjs.Tensor);
    });
    await this.settle();
    const [tokenId] = cpuToken.toArray();
    return tokenId ?? 0;
  }

  async readLogits(): Promise<Float32Array> {
    const state = this.#loaded();
    this.#scoped(() => {
      const logits = this.#lastLogits();
      state.cpuLogits ??= this.#tvm.detachFromCurrentScope(
        this.#tvm.empty(logits.shape, "float32", this.#tvm.cpu()),
      );
      state.cpuLogits.copyFrom(logits);
    });
    await this.settle();
    return state.cpuLogits?.toArray() as Float32Array;
  }

  async settle(): Promise<void> {
    await this.#wait(this.#device.sync());
  }

  dispose(): void {
    this.#failed ??= new TransomError("not-loaded", "The model has been unloaded.");
    this.#tvm.dispose();
  }

  #lookUp(): Functions {
    const tvm = this.#tvm;
    const own = (name: string) => tvm.detachFromCurrentScope(this.#machine.getFunction(name));
    const builtin = (name: string) =>
      tvm.detachFromCurrentScope(tvm.getGlobalFunc(`vm.builtin.kv_state_${name}`));
    return {
      embed: own("embed"),
      prefill: own("prefill"),
      decode: own("decode"),
      argmax: own("argmax_logits"),
      clear: builtin("clear"),
      addSequence: builtin("add_sequence"),
      beginForward: builtin("begin_forward"),
      endForward: builtin("end_forward"),
    };
  }

  #placeTokens(tokenIds: readonly number[]): tvmjs.Tensor {
    const ids = [...tokenIds];
    return ids.length === 1
      ? this.#loaded().decodeInput.copyFrom(ids)
      : this.#tvm.empty([ids.length], "int32", this.#device).copyFrom(ids);
  }

  #lastLogits(): tvmjs.Tensor {
    if (this.#logits === null) {
      throw new TransomError("internal", "There are no logits before the first forward.");
    }
    return this.#logits;
  }

  #loaded(): LoadedState {
    this.#throwIfFailed();
    if (this.#state === null) {
      throw new TransomError("not-loaded", "The model's parameters are not loaded.");
    }
    return this.#state;
  }

  /** Run synchronous TVM work; release what it made; turn a crash into words. */
  #scoped<T>(work: () => T): T {
    this.#throwIfFailed();
    this.#tvm.beginScope();
    try {
      const result = work();
      this.#tvm.endScope();
      return result;
    } catch (error) {
      throw this.#fail(error);
    }
  }

  async #wait<T>(work: Promise<T>): Promise<T> {
    this.#throwIfFailed();
    try {
      const result = await Promise.race([work, this.#failure]);
      this.#throwIfFailed();
      return result;
    } catch (error) {
      if (isGpuRejection(error)) {
        // Why the GPU let go is told a moment later.
        const patience = new Promise((resolve) => setTimeout(resolve, REASON_PATIENCE_MS));
        await Promise.race([patience, this.#failure.catch(() => undefined)]);
      }
      throw this.#fail(error);
    }
  }

  #watch(gpuDevice: GPUDevice): void {
    gpuDevice.addEventListener("uncapturederror", (event) => {
      const { error } = event;
      const isMemory = "GPUOutOfMemoryError" in globalThis && error instanceof GPUOutOfMemoryError;
      this.#fail(
        isMemory
          ? new TransomError("out-of-memory", "The GPU has no memory left for this model.")
          : new TransomError("gpu-error", `The GPU refused a command: ${error.message}`),
      );
    });
    void gpuDevice.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") {
        this.#fail(
          new TransomError(
            "device-lost",
            `The connection to the GPU was lost (${message.replace(/\.$/, "") || "no reason given"}). Reload the page.`,
          ),
        );
      }
    });
  }

  /** Remember the first failure: it explains the later ones. */
  #fail(error: unknown): TransomError {
    if (this.#failed === null) {
      this.#failed = error instanceof TransomError ? error : this.#explain(error);
      this.#reportFailure(this.#failed);
    }
    return this.#failed;
  }

  #throwIfFailed(): void {
    if (this.#failed !== null) {
      throw this.#failed;
    }
  }

  /** A wasm trap says only "unreachable"; the reason is in what C++ wrote before. */
  #explain(error: unknown): TransomError {
    if (isGpuRejection(error)) {
      return new TransomError("device-lost", "The GPU no longer answers. Reload the page.");
    }
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
    const lastError = this.#tvm.exports["transom_last_error"];
    if (lastError === undefined) {
      return "";
    }
    return this.#tvm.memory.loadCString((lastError as () => number)());
  }
}

/** A lost device rejects what waits for it in this way. */
function isGpuRejection(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "OperationError");
}
