/** WebGPU for Node: npm `webgpu` (Dawn) on Vulkan. */
import { create, globals } from "webgpu";

/** Dawn's objects crash Node when they are collected while a device lives: hold on to them. */
const held = globalThis as typeof globalThis & { transomGpu?: GPU };

export function openDawn(): GPU {
  // tvmjs finds GPUBufferUsage and its like where a browser has them.
  Object.assign(globalThis, globals);
  held.transomGpu ??= create(["backend=vulkan"]);
  return held.transomGpu;
}
