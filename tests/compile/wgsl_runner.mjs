// Runs kernels as a program's steps, without TVM's runtime: node wgsl_runner.mjs FOLDER
//
// FOLDER holds calls.json and inputs.bin (see wgsl_runner.py); gets outputs.bin and results.json.
// The device is asked for what WebGPU promises everywhere, and for subgroups.
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

import { openDawn } from "../../web/dist-node/dawn.mjs";

const folder = process.argv[2];
// Dawn's objects crash Node when they are collected while in use.
globalThis.held = {};
const adapter = await openDawn().requestAdapter();
if (adapter === null) {
  throw new Error("no WebGPU adapter");
}
const device = await adapter.requestDevice({ requiredFeatures: ["subgroups"] });
Object.assign(globalThis.held, { adapter, device });

const inputs = readFileSync(join(folder, "inputs.bin"));
const { shaders, calls } = JSON.parse(readFileSync(join(folder, "calls.json"), "utf8"));
const { STORAGE, UNIFORM, COPY_SRC, COPY_DST, MAP_READ } = GPUBufferUsage;

function upload(bytes, usage) {
  const buffer = device.createBuffer({ size: bytes.byteLength, usage: usage | COPY_DST });
  device.queue.writeBuffer(buffer, 0, bytes);
  return buffer;
}

async function run({ shader, buffers, scalars, grid }) {
  const pipeline = pipelines.get(shader);
  const bound = buffers.map(({ start, stop }) =>
    upload(inputs.subarray(start, stop), STORAGE | COPY_SRC),
  );
  const uniform = upload(Uint32Array.from([...scalars, grid[0] - 1]), UNIFORM);
  const encoder = device.createCommandEncoder();
  const pass = encoder.beginComputePass();
  pass.setPipeline(pipeline);
  const entries = [...bound, uniform].map((buffer, binding) => ({ binding, resource: { buffer } }));
  pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
  pass.dispatchWorkgroups(...grid);
  pass.end();
  const written = bound.filter((_, index) => buffers[index].written);
  const landed = written.map(({ size }) =>
    device.createBuffer({ size, usage: MAP_READ | COPY_DST }),
  );
  landed.forEach((buffer, index) => {
    encoder.copyBufferToBuffer(written[index], 0, buffer, 0, buffer.size);
  });
  device.queue.submit([encoder.finish()]);
  await Promise.all(landed.map((buffer) => buffer.mapAsync(GPUMapMode.READ)));
  return landed.map((buffer) => Buffer.from(buffer.getMappedRange().slice()));
}

const pipelines = new Map();
// Side by side: a driver's compiler takes far longer than these small products.
await Promise.all(
  Object.entries(shaders).map(async ([name, { wgsl, entry }]) => {
    const compute = { module: device.createShaderModule({ code: wgsl }), entryPoint: entry };
    pipelines.set(name, await device.createComputePipelineAsync({ layout: "auto", compute }));
  }),
);
device.pushErrorScope("validation");
const outputs = [];
for (const call of calls) {
  outputs.push(...(await run(call)));
}
const error = await device.popErrorScope();
if (error !== null) {
  throw new Error(error.message);
}
writeFileSync(join(folder, "outputs.bin"), Buffer.concat(outputs));
const { subgroupMinSize } = adapter.info;
writeFileSync(join(folder, "results.json"), JSON.stringify({ subgroupMinSize }));
// Dawn has no clean end: leave while everything is still held.
process.exit(0);
