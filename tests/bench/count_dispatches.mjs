/** Preloaded into Node (`--import`): counts compute dispatches and prints the sum on stderr. */
import { globals } from "webgpu";

const encoder = globals.GPUComputePassEncoder.prototype;
const dispatch = encoder.dispatchWorkgroups;
let count = 0;
encoder.dispatchWorkgroups = function (...counts) {
  count += 1;
  return dispatch.apply(this, counts);
};
process.on("exit", () => console.error(`dispatches ${count}`));
