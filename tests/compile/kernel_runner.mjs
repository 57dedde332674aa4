// Runs kernels of a model library one by one: node kernel_runner.mjs FOLDER
//
// FOLDER holds library.wasm, cases.json and inputs.bin (see kernel_runner.py); gets outputs.bin and
// results.json. The device is asked for no more than WebGPU promises everywhere, but for ten storage
// buffers, which all browsers give: a kernel that needs more fails here before it fails on a phone.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import * as tvmjs from "@mlc-ai/web-runtime";
import { create, globals } from "webgpu";

const STORAGE_BUFFERS = 10;

const folder = process.argv[2];
Object.assign(globalThis, globals);
// Dawn's objects crash Node when they are collected while in use.
globalThis.held = { gpu: create(["backend=vulkan"]) };
const adapter = await globalThis.held.gpu.requestAdapter();
if (adapter === null) {
  throw new Error("no WebGPU adapter");
}
const gpuDevice = await adapter.requestDevice({
  requiredFeatures: adapter.features.has("shader-f16") ? ["shader-f16"] : [],
  requiredLimits: { maxStorageBuffersPerShaderStage: STORAGE_BUFFERS },
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

function tensor({ shape, dtype, start, stop, skip }) {
  const itemBytes = Number(/\d+$/.exec(dtype)[0]) / 8;
  const made = tvm.empty([skip + (stop - start) / itemBytes], dtype, device);
  made.copyFromRawBytes(inputs.subarray(start - skip * itemBytes, stop));
  // A view that starts `skip` elements into its buffer, as the KV cache's auxiliary arrays do.
  const offset = tvm.scalar(skip * itemBytes, "int");
  return createView(made, tvm.makeShapeTuple(shape), dtype, offset);
}

function toRuntime(argument) {
  if ("int" in argument) {
    return tvm.scalar(argument.int, "int32");
  }
  return "float" in argument ? tvm.scalar(argument.float, "float32") : tensor(argument);
}

function read(source) {
  const landed = tvm.empty(source.shape, source.dtype, tvm.cpu());
  landed.copyFrom(source);
  return landed;
}

async function run({ name, call, args, written, returned }) {
  gpuDevice.pushErrorScope("validation");
  tvm.beginScope();
  const values = args.map(toRuntime);
  const result = machine.getFunction(call)(...values);
  const results = returned > 1 ? Array.from({ length: returned }, (_, i) => result.get(i)) : [result];
  const sources = [...written.map((index) => values[index]), ...results.slice(0, returned)];
  const landed = sources.map(read);
  await device.sync();
  for (const copy of landed) {
    outputs.push(Buffer.from(copy.toRawBytes()));
  }
  tvm.endScope();
  const error = await gpuDevice.popErrorScope();
  if (error !== null) {
    errors[name] = error.message;
  }
}

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
