// Runs heap_stress.wasm (argument 1) and prints one JSON object; test_heap.py judges it.
import { readFileSync } from "node:fs";

let growths = 0;
let stderr = "";
let instance;
const text = (address) => {
  const bytes = new Uint8Array(instance.exports.memory.buffer, address);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
};
const wasi = {
  fd_write(descriptor, vectors, count, written) {
    const view = new DataView(instance.exports.memory.buffer);
    let total = 0;
    for (let i = 0; i < count; i++) {
      const address = view.getUint32(vectors + 8 * i, true);
      const length = view.getUint32(vectors + 8 * i + 4, true);
      stderr += new TextDecoder().decode(new Uint8Array(view.buffer, address, length));
      total += length;
    }
    view.setUint32(written, total, true);
    return 0;
  },
};
const refuse = new Proxy(wasi, { get: (known, name) => known[name] ?? (() => 52) });
const env = {
  emscripten_notify_memory_growth: () => void growths++,
  TVMFFIWasmSafeCall: () => -1,
  TVMFFIWasmFunctionDeleter: () => undefined,
};
const module = new WebAssembly.Module(readFileSync(process.argv[2]));
instance = new WebAssembly.Instance(module, { env, wasi_snapshot_preview1: refuse });
const call = instance.exports;
const pages = () => call.memory.buffer.byteLength / 65536;
call._initialize();

const report = { stress: [] };
for (let seed = 1; seed <= 5; seed++) report.stress.push(call.stress(seed * 7919, 20000));
report.pagesAfterStress = pages();
for (let i = 0; i < 3; i++) call.stress(99, 20000);
report.pagesAfterMoreStress = pages();
const before = pages();
report.largeFits = call.try_bytes(256 * 1024 * 1024);
report.pagesForLarge = pages() - before;
report.largeFitsAgain = call.try_bytes(256 * 1024 * 1024);
report.pagesForLargeAgain = pages() - before;
report.growths = growths;
report.hugeFits = call.try_bytes(0xffffffff);
report.newError = text(call.new_error(0xfffffff0));
try {
  call.free_twice();
} catch (error) {
  report.trap = error.constructor.name;
}
report.lastError = text(call.transom_last_error());
report.stderr = stderr;
console.log(JSON.stringify(report));
