// Runs kernels of a model library one by one: node kernel_runner.mjs FOLDER
//
// FOLDER holds library.wasm, cases.json and inputs.bin (see kernel_runner.py); gets outputs.bin and
// results.json. The device is asked for no more than WebGPU promises everywhere, but for what WebLLM
// asks too: ten storage buffers, and twice the workgroup memory (TVM's f16 attention takes 16 768
// bytes). A kernel that needs more fails here before it fails on a phone.
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import * as tvmjs from "@mlc-ai/web-runtime";

import { openDawn } from "../../web/dist-node/dawn.mjs";

const STORAGE_BUFFERS = 10;
const WORKGROUP_BYTES = 32 * 1024;
const WORD_BYTES = 4;
const UNWRITTEN = 0xff;

const folder = process.argv[2];
// Dawn's objects crash Node when they are collected while in use.
globalThis.held = {};
const adapter = await openDawn().requestAdapter();
if (adapter === null) {
  throw new Error("no WebGPU adapter");
}
const gpuDevice = await adapter.requestDevice({
  requiredFeatures: adapter.features.has("shader-f16") ? ["shader-f16"] : [],
  requiredLimits: {
    maxStorageBuffersPerShaderStage: STORAGE_BUFFERS,
    maxComputeWorkgroupStorageSize: WORKGROUP_BYTES,
  },
});
Object.assign(globalThis.held, { adapter, gpuDevice });

const tvm = await tvmjs.instantiate(
  readFileSync(join(folder, "library.wasm")),
  tvmjs.createPolyfillWASI(),
);
tvm.initWebGPU(gpuDevice);
const device = tvm.webgpu();
tvm.beginScope();
const machine = tvm.createVirtualMachine(device);
const createView = tvm.getGlobalFunc("runtime.TVMTensorCreateView");

const inputs = readFileSync(join(folder, "inputs.bin"));
const cases = JSON.parse(readFileSync(join(folder, "cases.json"), "utf8"));
const outputs = [];
const errors = {};

/** A flat buffer on the GPU, and a view of it that starts `skip` elements in (as the KV cache's
 * auxiliary arrays do). Copies are of whole words, so an odd number of f16 gets one more. */
function place({ shape, dtype, start, stop, skip }) {
  const itemBytes = Number(/\d+$/.exec(dtype)[0]) / 8;
  const skipped = skip * itemBytes;
  const bytes = new Uint8Array(Math.ceil((skipped + stop - start) / WORD_BYTES) * WORD_BYTES);
  // What lies before a view must not be mistaken for it.
  bytes.fill(UNWRITTEN, 0, skipped);
  bytes.set(inputs.subarray(start, stop), skipped);
  const flat = tvm.empty([bytes.length / itemBytes], dtype, device);
  flat.copyFromRawBytes(bytes);
  const offset = tvm.scalar(skipped, "int");
  return { flat, value: createView(flat, tvm.makeShapeTuple(shape), dtype, offset) };
}

function toRuntime(argument) {
  if ("int" in argument) {
    return { value: tvm.scalar(argument.int, "int32") };
  }
  return "float" in argument ? { value: tvm.scalar(argument.float, "float32") } : place(argument);
}

function startReading(source) {
  const landed = tvm.empty(source.shape, source.dtype, tvm.cpu());
  landed.copyFrom(source);
  return landed;
}

async function run({ name, call, args, written, returned }) {
  gpuDevice.pushErrorScope("validation");
  tvm.beginScope();
  const values = args.map(toRuntime);
  const result = machine.getFunction(call)(...values.map(({ value }) => value));
  const results =
    returned > 1 ? Array.from({ length: returned }, (_, i) => result.get(i)) : [result];
  const sources = [...written.map((index) => values[index].flat), ...results.slice(0, returned)];
  const landed = sources.map(startReading);
  await device.sync();
  landed.forEach((copy, index) => {
    const filled = args[written[index]];
    const size = filled === undefined ? undefined : filled.stop - filled.start;
    outputs.push(Buffer.from(copy.toRawBytes().subarray(0, size)));
  });
  tvm.endScope();
  const error = await gpuDevice.popErrorScope();
  if (error !== null) {
    errors[name] = error.message;
  }
}

// All pipelines side by side first: a driver's compiler takes far longer than these small products.
await tvm.asyncLoadWebGPUPipelines(machine.getInternalModule());
for (const one of cases) {
  await run(one);
}
writeFileSync(join(folder, "outputs.bin"), Buffer.concat(outputs));
const { vendor, architecture, description } = adapter.info;
writeFileSync(
  join(folder, "results.json"),
  JSON.stringify({ adapter: `${vendor} ${architecture} ${description}`, errors }),
);
// Dawn has no clean end: leave while everything is still held.
process.exit(0);
