/**
 * Runs the functions of a program on a device: buffers, pipelines and bind groups are made once, a
 * call only writes down dispatches.
 *
 * Knows what a program is, not what it computes. What its functions share (`inputs`, `table`, …) is
 * the caller's; scratch and uniforms are made here.
 */
import { TransomError } from "../../errors.ts";
import type { Pipelines } from "./pipelines.ts";
import { type Dispatch, type Program, type ProgramFunction, valueOf } from "./program.ts";

const WORD_BYTES = 4;
/** Where a uniform may begin; WebGPU promises no finer step. */
const UNIFORM_STEP = 256;
/** Workgroups along one axis that WebGPU promises. */
const MAX_GROUPS = 65_535;

export class Executor {
  readonly program: Program;
  readonly device: GPUDevice;
  readonly #shared: ReadonlyMap<string, GPUBuffer>;
  readonly #params: readonly GPUBuffer[];
  readonly #storages: GPUBuffer[];
  readonly #pipelines: Pipelines;
  readonly #uniforms: GPUBuffer[] = [];

  /** @param params one buffer for each of the program's parameters, in its order. */
  constructor(
    program: Program,
    device: GPUDevice,
    pipelines: Pipelines,
    shared: ReadonlyMap<string, GPUBuffer>,
    params: readonly GPUBuffer[],
  ) {
    this.program = program;
    this.device = device;
    this.#pipelines = pipelines;
    this.#shared = shared;
    this.#params = params;
    this.#storages = program.storages.map((size) =>
      device.createBuffer({ size, usage: GPUBufferUsage.STORAGE }),
    );
  }

  /**
   * A function with its buffers bound.
   *
   * @param bound names of shared buffers that stand for others here: `{ logits: "adjusted" }`.
   */
  bind(name: string, bound: Readonly<Record<string, string>> = {}): BoundFunction {
    const source = this.#function(name);
    const words = new UniformWords(source);
    const uniform = this.device.createBuffer({
      size: words.bytes,
      usage: GPUBufferUsage.UNIFORM | GPUBufferUsage.COPY_DST,
    });
    this.#uniforms.push(uniform);
    const calls = source.steps.map((step, index) => ({
      pipeline: this.#pipelines.of(step.kernel),
      bindGroup: this.#bindGroup(step, bound, uniform, words.offsetOf(index)),
      grid: step.grid,
    }));
    return new BoundFunction(this.device, source.most, calls, uniform, words);
  }

  dispose(): void {
    for (const buffer of [...this.#storages, ...this.#uniforms]) {
      buffer.destroy();
    }
  }

  #bindGroup(
    step: Dispatch,
    bound: Readonly<Record<string, string>>,
    uniform: GPUBuffer,
    offset: number,
  ): GPUBindGroup {
    const kernel = this.#pipelines.kernel(step.kernel);
    const buffers = step.buffers.map((place) => {
      switch (place.kind) {
        case "param":
          return this.#params[place.index];
        case "storage":
          return this.#storages[place.index];
        case "shared":
          return this.#shared.get(bound[place.name] ?? place.name);
      }
    });
    const entries: GPUBindGroupEntry[] = buffers.map((buffer, binding) => {
      if (buffer === undefined) {
        throw new TransomError(
          "invalid-bundle",
          `The program's kernel ${kernel.name} asks for a buffer that this engine does not know.`,
        );
      }
      return { binding, resource: { buffer } };
    });
    const size = kernel.scalars * WORD_BYTES;
    entries.push({ binding: entries.length, resource: { buffer: uniform, offset, size } });
    return this.device.createBindGroup({ layout: this.#pipelines.layoutOf(kernel), entries });
  }

  #function(name: string): ProgramFunction {
    const found = this.program.functions.get(name);
    if (found === undefined) {
      throw new TransomError("invalid-bundle", `The program has no function ${name}.`);
    }
    return found;
  }
}

interface Call {
  pipeline: GPUComputePipeline;
  bindGroup: GPUBindGroup;
  grid: Dispatch["grid"];
}

/** One function, ready: `encode` is all that a step costs the CPU. */
export class BoundFunction {
  readonly most: number;
  readonly #device: GPUDevice;
  readonly #calls: readonly Call[];
  readonly #uniform: GPUBuffer;
  readonly #words: UniformWords;
  #n = 0;
  #grids: readonly (readonly [number, number, number])[] = [];

  constructor(
    device: GPUDevice,
    most: number,
    calls: readonly Call[],
    uniform: GPUBuffer,
    words: UniformWords,
  ) {
    this.most = most;
    this.#device = device;
    this.#calls = calls;
    this.#uniform = uniform;
    this.#words = words;
  }

  /**
   * Before `encode`, in the same turn: what depends on the number of rows. Queued like a command,
   * so calls that were submitted before keep theirs.
   */
  setRows(n: number): void {
    if (n === this.#n) {
      return;
    }
    if (n < 1 || n > this.most) {
      throw new TransomError("internal", `A call of ${n} rows, where ${this.most} is the most.`);
    }
    this.#n = n;
    this.#grids = this.#calls.map(({ grid: [x, y] }) => foldGrid(valueOf(x, n), valueOf(y, n)));
    this.#device.queue.writeBuffer(this.#uniform, 0, this.#words.at(n));
  }

  encode(pass: GPUComputePassEncoder): void {
    let last: GPUComputePipeline | null = null;
    for (const [index, { pipeline, bindGroup }] of this.#calls.entries()) {
      const grid = this.#grids[index];
      if (grid === undefined) {
        throw new TransomError("internal", "A function was called before its rows were known.");
      }
      if (pipeline !== last) {
        pass.setPipeline(pipeline);
        last = pipeline;
      }
      pass.setBindGroup(0, bindGroup);
      pass.dispatchWorkgroups(...grid);
    }
  }
}

/** A grid wider than WebGPU allows goes on along z; kernels leave what is beyond the width alone. */
function foldGrid(width: number, height: number): [number, number, number] {
  const layers = Math.ceil(width / MAX_GROUPS);
  return [Math.ceil(width / layers), height, layers];
}

/** The uniforms of a function: dispatches with equal ones share one. */
class UniformWords {
  readonly #steps: Dispatch[] = [];
  readonly #offsets: number[];

  constructor({ steps }: ProgramFunction) {
    const known = new Map<string, number>();
    this.#offsets = steps.map((step) => {
      const key = JSON.stringify([step.scalars, step.grid[0]]);
      let index = known.get(key);
      if (index === undefined) {
        index = this.#steps.length;
        known.set(key, index);
        this.#steps.push(step);
      }
      return index * UNIFORM_STEP;
    });
  }

  get bytes(): number {
    return Math.max(1, this.#steps.length) * UNIFORM_STEP;
  }

  offsetOf(step: number): number {
    return this.#offsets[step] ?? 0;
  }

  /** All words, for a call of n rows. */
  at(n: number): Int32Array<ArrayBuffer> {
    const words = new Int32Array(this.bytes / WORD_BYTES);
    for (const [index, { scalars, grid }] of this.#steps.entries()) {
      const values = [...scalars.map((scalar) => valueOf(scalar, n)), valueOf(grid[0], n) - 1];
      words.set(values, (index * UNIFORM_STEP) / WORD_BYTES);
    }
    return words;
  }
}
