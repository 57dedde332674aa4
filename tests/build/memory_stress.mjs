// Runs memory_stress.wasm (argument 1) and prints one JSON object; test_runtime.py judges it.
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
const pages = () => instance.exports.memory.buffer.byteLength / 65536;

/** A fresh instance: one that trapped is done for. */
function start() {
  instance = new WebAssembly.Instance(module, { env, wasi_snapshot_preview1: refuse });
  stderr = "";
  instance.exports._initialize();
  return instance.exports;
}

function trap(deed) {
  const fresh = start();
  try {
    deed(fresh);
    return { error: "none" };
  } catch (error) {
    const lastError = text(fresh.transom_last_error());
    return { error: error.constructor.name, message: error.message, lastError, stderr };
  }
}

const call = start();
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
report.freeTwice = trap((fresh) => fresh.free_twice());
report.uncatchable = trap((fresh) => fresh.uncatchable());
report.givenUp = trap((fresh) => fresh.give_up());
report.deep = trap((fresh) => fresh.recurse(60));
report.tooDeep = trap((fresh) => fresh.recurse(200));
console.log(JSON.stringify(report));
