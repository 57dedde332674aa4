/** The compute pipelines of a program's kernels: built once each, ahead and side by side if asked. */
import { TransomError } from "../../errors.ts";
import type { Kernel, Program } from "./program.ts";

export class Pipelines {
  readonly #program: Program;
  readonly #device: GPUDevice;
  readonly #layouts = new Map<string, GPUBindGroupLayout>();
  readonly #built = new Map<string, GPUComputePipeline>();

  constructor(program: Program, device: GPUDevice) {
    this.#program = program;
    this.#device = device;
  }

  /** Build those of some functions. @param onProgress part done, 0 to 1. */
  async build(functions: readonly string[], onProgress: (fraction: number) => void): Promise<void> {
    const kernels = new Set(
      functions.flatMap((name) =>
        (this.#program.functions.get(name)?.steps ?? []).map(({ kernel }) => kernel),
      ),
    );
    const missing = [...kernels].filter((name) => !this.#built.has(name));
    let done = 0;
    await Promise.all(
      missing.map(async (name) => {
        const descriptor = this.#describe(this.kernel(name));
        this.#built.set(name, await this.#device.createComputePipelineAsync(descriptor));
        done++;
        onProgress(done / missing.length);
      }),
    );
    onProgress(1);
  }

  /** A kernel's pipeline; built now if nobody has. */
  of(name: string): GPUComputePipeline {
    let pipeline = this.#built.get(name);
    if (pipeline === undefined) {
      pipeline = this.#device.createComputePipeline(this.#describe(this.kernel(name)));
      this.#built.set(name, pipeline);
    }
    return pipeline;
  }

  /** Kernels that bind alike share a layout. */
  layoutOf({ writes }: Kernel): GPUBindGroupLayout {
    const key = writes.map(Number).join("");
    let layout = this.#layouts.get(key);
    if (layout === undefined) {
      const entries: GPUBindGroupLayoutEntry[] = writes.map((isWritten, binding) => ({
        binding,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: isWritten ? "storage" : "read-only-storage" },
      }));
      entries.push({
        binding: entries.length,
        visibility: GPUShaderStage.COMPUTE,
        buffer: { type: "uniform" },
      });
      layout = this.#device.createBindGroupLayout({ entries });
      this.#layouts.set(key, layout);
    }
    return layout;
  }

  kernel(name: string): Kernel {
    const found = this.#program.kernels.get(name);
    if (found === undefined) {
      throw new TransomError("invalid-bundle", `The program has no kernel ${name}.`);
    }
    return found;
  }

  #describe(kernel: Kernel): GPUComputePipelineDescriptor {
    return {
      label: kernel.name,
      layout: this.#device.createPipelineLayout({ bindGroupLayouts: [this.layoutOf(kernel)] }),
      compute: {
        module: this.#device.createShaderModule({ label: kernel.name, code: kernel.wgsl }),
        entryPoint: kernel.entry,
      },
    };
  }
}
