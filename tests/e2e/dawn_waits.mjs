/**
 * How Dawn waits for the GPU: `node dawn_waits.mjs`.
 *
 * Prints JSON: `value`, what a kernel of many rounds made; of Dawn's questions whether it is there, `turns`, how many were
 * to come in the next turn of the event loop, and `pauses`, how many after a moment; `ours`, what others' `setImmediate`
 * still hands on.
 */
import process from "node:process";
import { promisify } from "node:util";

const asked = { turns: 0, pauses: 0 };
const { setImmediate: immediate, setTimeout: timeout } = globalThis;

const isNative = (run) => run.name === "" && String(run).includes("[native code]");

globalThis.setImmediate = new Proxy(immediate, {
  apply(target, self, [run, ...args]) {
    asked.turns += isNative(run);
    return target(run, ...args);
  },
});
globalThis.setTimeout = (run, ...args) => {
  asked.pauses += isNative(run);
  return timeout(run, ...args);
};

const { openDawn } = await import("../../web/dist-node/dawn.mjs");
// Dawn's objects crash Node when they are collected: the global holds on to them.
const held = (globalThis.held = {});
held.adapter = await openDawn().requestAdapter();
held.device = await held.adapter.requestDevice();
const { device } = held;
const size = 4;
const out = device.createBuffer({ size, usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
const back = device.createBuffer({
  size,
  usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST,
});
const code = `
  @group(0) @binding(0) var<storage, read_write> sum: array<u32>;
  @compute @workgroup_size(1) fn main() {
    for (var i = 0u; i < 20000000u; i++) { sum[0] = sum[0] * 3u + i; }
  }`;
const module = device.createShaderModule({ code });
const pipeline = await device.createComputePipelineAsync({ layout: "auto", compute: { module } });
const layout = pipeline.getBindGroupLayout(0);
const entries = [{ binding: 0, resource: { buffer: out } }];
const encoder = device.createCommandEncoder();
const pass = encoder.beginComputePass();
pass.setPipeline(pipeline);
pass.setBindGroup(0, device.createBindGroup({ layout, entries }));
pass.dispatchWorkgroups(1);
pass.end();
encoder.copyBufferToBuffer(out, 0, back, 0, size);
device.queue.submit([encoder.finish()]);
await back.mapAsync(GPUMapMode.READ);
const [value] = new Uint32Array(back.getMappedRange());
const ours = [await promisify(setImmediate)("promised")];
await new Promise((done) => setImmediate((...args) => done(ours.push(...args)), 1, 2));
process.stdout.write(JSON.stringify({ value, ours, ...asked }));
