/** A program on its way to run: its weights come shard by shard while its pipelines are built. */
import { TransomError } from "../../errors.ts";
import type { ShardRecord } from "../../store/tensor-cache.ts";
import type { VerifiedBytes } from "../../store/verify.ts";
import { subgroupThreads } from "../../support.ts";
import { widenBf16 } from "../bf16.ts";
import { GpuWatch, explainCrash } from "../gpu-watch.ts";
import type { LibraryMetadata } from "../library-metadata.ts";
import { Pipelines } from "./pipelines.ts";
import { poolTokens } from "./pool-size.ts";
import { type Program, forSubgroups } from "./program.ts";
import { ProgramRuntime } from "./program-runtime.ts";

const WORD_BYTES = 4;
/** What every conversation uses; the rest is built when it is first asked for. */
const USUAL_FUNCTIONS: readonly string[] = ["prefill", "decode", "greedy"];

export class ProgramModel {
  readonly metadata: LibraryMetadata;
  readonly #program: Program;
  readonly #device: GPUDevice;
  readonly #watch: GpuWatch;
  readonly #pipelines: Pipelines;
  readonly #weights = new Map<string, GPUBuffer>();
  readonly #hinted: readonly string[];
  readonly #onUse: (functions: readonly string[]) => void;

  /**
   * @param hinted functions that earlier visits used.
   * @param onUse told of all that were used, whenever there is a new one.
   */
  constructor(
    program: Program,
    device: GPUDevice,
    hinted: readonly string[] = [],
    onUse: (functions: readonly string[]) => void = () => undefined,
  ) {
    this.#hinted = hinted;
    this.#onUse = onUse;
    const { contextWindowSize, prefillChunkSize, computeDtype, params } = program;
    this.metadata = { task: "chat", contextWindowSize, prefillChunkSize, computeDtype, params };
    this.#program = forSubgroups(program, subgroupThreads(device));
    this.#device = device;
    this.#watch = new GpuWatch(device, explainCrash);
    this.#pipelines = new Pipelines(this.#program, device);
  }

  /** @param onProgress part done, 0 to 1. */
  async buildPipelines(onProgress: (fraction: number) => void): Promise<void> {
    const names = [...new Set([...USUAL_FUNCTIONS, ...this.#hinted])];
    await this.#watch.wait(this.#pipelines.build(names, onProgress));
  }

  /** Copy a shard's tensors to the GPU straight from its verified bytes. */
  async upload(shard: ShardRecord, bytes: VerifiedBytes): Promise<void> {
    this.#watch.throwIfFailed();
    for (const { name, format, byteOffset, sizeBytes } of shard.tensors) {
      const stored = bytes.subarray(byteOffset, byteOffset + sizeBytes);
      const data = format === "raw" ? stored : widenBf16(stored);
      const buffer = this.#device.createBuffer({
        label: name,
        size: Math.ceil(data.byteLength / WORD_BYTES) * WORD_BYTES,
        usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_DST,
      });
      // Not mapped at its creation: that is filled with zeros first, and copied once more later.
      writeBytes(this.#device.queue, buffer, data);
      this.#weights.set(name, buffer);
    }
    // Bounds what the browser has staged to one shard.
    await this.settle();
  }

  async settle(): Promise<void> {
    await this.#watch.wait(this.#device.queue.onSubmittedWorkDone());
  }

  /**
   * After the last shard.
   *
   * @param contextWindowSize tokens that one sequence may hold; at most the program's own.
   */
  start(contextWindowSize: number): ProgramRuntime {
    const { params, memory, layers, pageSize } = this.#program;
    const buffers = params.map(({ name }) => {
      const buffer = this.#weights.get(name);
      if (buffer === undefined) {
        throw new TransomError("invalid-bundle", `The bundle has no parameter ${name}.`);
      }
      return buffer;
    });
    const { maxBufferSize, maxStorageBufferBindingSize } = this.#device.limits;
    const tokens = poolTokens(
      contextWindowSize,
      memory.kvBytesPerToken,
      layers,
      Math.min(maxBufferSize, maxStorageBufferBindingSize),
    );
    return new ProgramRuntime(
      this.#program,
      this.#watch,
      this.#device,
      this.#pipelines,
      buffers,
      contextWindowSize,
      Math.ceil(tokens / pageSize),
      this.#hinted,
      this.#onUse,
    );
  }
}

/** Into a buffer from its start. A write is of whole words: what is behind them stays zero. */
function writeBytes(queue: GPUQueue, buffer: GPUBuffer, data: Uint8Array): void {
  const whole = data.byteLength - (data.byteLength % WORD_BYTES);
  queue.writeBuffer(buffer, 0, data.buffer, data.byteOffset, whole);
  if (whole < data.byteLength) {
    const last = new Uint8Array(WORD_BYTES);
    last.set(data.subarray(whole));
    queue.writeBuffer(buffer, whole, last);
  }
}
