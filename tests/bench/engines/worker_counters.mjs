/** Runs first in our engine's worker and answers the page's questions about the GPU. */
import { countGpu } from "/measure.mjs";

const counter = countGpu();
const channel = new BroadcastChannel("bench-counters");
channel.onmessage = ({ data }) => {
  if (data === "pretend") {
    counter.pretend();
  }
  if (data === "read" || data === "pretend") {
    channel.postMessage(counter.read());
  }
};
