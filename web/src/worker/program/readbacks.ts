/** Bytes on their way from the GPU: staging buffers are lent, mapped, read and lent again. */
import type { GpuWatch } from "../gpu-watch.ts";

/** Sizes are rounded up to powers of two from here, so that few buffers serve all. */
const SMALLEST = 256;

export class Readbacks {
  readonly #device: GPUDevice;
  readonly #watch: GpuWatch;
  readonly #free = new Map<number, GPUBuffer[]>();

  constructor(device: GPUDevice, watch: GpuWatch) {
    this.#device = device;
    this.#watch = watch;
  }

  /**
   * Queue copies and wait for them.
   *
   * @param fill writes the commands that fill the first `size` bytes of the target.
   * @returns a copy of these bytes, in a buffer of its own.
   */
  async read(
    size: number,
    fill: (encoder: GPUCommandEncoder, target: GPUBuffer) => void,
  ): Promise<Uint8Array<ArrayBuffer>> {
    this.#watch.throwIfFailed();
    const capacity = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(size)));
    const target =
      this.#free.get(capacity)?.pop() ??
      this.#device.createBuffer({
        size: capacity,
        usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
      });
    const encoder = this.#device.createCommandEncoder();
    fill(encoder, target);
    this.#device.queue.submit([encoder.finish()]);
    await this.#watch.wait(target.mapAsync(GPUMapMode.READ, 0, size));
    const bytes = new Uint8Array(target.getMappedRange(0, size).slice(0));
    target.unmap();
    this.#lend(capacity).push(target);
    return bytes;
  }

  dispose(): void {
    for (const buffer of [...this.#free.values()].flat()) {
      buffer.destroy();
    }
    this.#free.clear();
  }

  #lend(capacity: number): GPUBuffer[] {
    let list = this.#free.get(capacity);
    if (list === undefined) {
      list = [];
      this.#free.set(capacity, list);
    }
    return list;
  }
}
