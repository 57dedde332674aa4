// Runs a library (argument 1) in tvmjs and prints one JSON object; test_runtime.py judges it.
const { readFileSync } = require("node:fs");
const tvmjs = require("@mlc-ai/web-runtime");

const log = [];
console.log = (...words) => log.push(words.join(" "));
console.error = console.log;

function caught(deed) {
  try {
    deed();
  } catch (error) {
    return { name: error.constructor.name, message: error.message };
  }
  return { name: "nothing", message: "it did not fail" };
}

async function main() {
  const wasm = readFileSync(process.argv[2]);
  const tvm = await tvmjs.instantiate(wasm, tvmjs.createPolyfillWASI());
  tvm.beginScope();
  const addOne = tvm.getGlobalFunc("tvmjs.testing.add_one");
  const report = { sum: addOne(new tvmjs.Scalar(41, "int32")), functions: tvm.listGlobalFuncNames() };

  report.badArgument = caught(() => tvm.getGlobalFunc("vm.builtin.kv_state_add_sequence")(1, 2));
  const array = tvm.empty([2, 3], "float32", tvm.cpu());
  report.failedCheck = caught(() =>
    tvm.getGlobalFunc("tvmjs.array.decode_bf16_to_f32_inplace")(array, new tvmjs.Scalar(-1, "int64")),
  );
  const complain = tvm.toPackedFunc(() => {
    throw new Error("thrown by the page");
  });
  report.throughBothBorders = caught(() => tvm.getGlobalFunc("tvmjs.testing.call")(complain));
  report.sumAfterErrors = addOne(new tvmjs.Scalar(42, "int32"));

  tvm.empty([64 * 1024 * 1024], "float32", tvm.cpu());
  report.memoryBytes = tvm.memory.memory.buffer.byteLength;
  tvm.getGlobalFunc("tvmjs.testing.log_info_str")("said after growth");
  report.log = log;
  process.stdout.write(JSON.stringify(report) + "\n");
}

main();
