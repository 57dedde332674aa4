/** WebGPU for Node: npm `webgpu` (Dawn) on Vulkan. */
import { create, globals } from "webgpu";

/** Between two questions whether the GPU is done: less than a token takes, more than asking does. */
const ASK_EVERY_MS = 1;

/** Dawn's objects crash Node when they are collected while a device lives: hold on to them. */
const held = globalThis as typeof globalThis & { transomGpu?: GPU };

/** The adapters of this machine. Makes `GPUBufferUsage` and its like global, and `setImmediate` patient. */
export function openDawn(): GPU {
  // tvmjs finds GPUBufferUsage and its like where a browser has them.
  Object.assign(globalThis, globals);
  if (held.transomGpu === undefined) {
    globalThis.setImmediate = patient(globalThis.setImmediate);
    held.transomGpu = create(["backend=vulkan"]);
  }
  return held.transomGpu;
}

/**
 * `setImmediate` that lets Dawn wait a moment, and nobody else.
 *
 * While anything is awaited of the GPU, Dawn asks in every turn of the event loop whether it is there, by the global
 * `setImmediate`: that is a whole core, of which a software GPU has better use.
 */
function patient(immediate: typeof setImmediate): typeof setImmediate {
  return new Proxy(immediate, {
    apply(target, self, args: Parameters<typeof setImmediate>): unknown {
      return isNative(args[0])
        ? setTimeout(args[0], ASK_EVERY_MS)
        : Reflect.apply(target, self, args);
    },
  });
}

/** Whether this is a nameless function that is not written in JavaScript. */
function isNative(asked: unknown): boolean {
  return (
    typeof asked === "function" &&
    asked.name === "" &&
    asked.length === 0 &&
    Function.prototype.toString.call(asked).includes("[native code]")
  );
}
