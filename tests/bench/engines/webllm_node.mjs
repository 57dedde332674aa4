/**
 * Unmodified WebLLM in Node, measured like ours (web/src/node/measure.ts).
 *
 *   node webllm_node.mjs REQUEST
 *
 * REQUEST is JSON: model and modelLib (addresses), cacheFolder, plan. Prints one JSON object.
 */
import process from "node:process";

import { countGpu, measure } from "../../../web/dist-node/measure.mjs";
import { standInForBrowser } from "./webllm_host.mjs";
import { openWebLlm } from "./webllm_engine.mjs";

const { cacheFolder, plan, ...record } = JSON.parse(process.argv[2]);
standInForBrowser(cacheFolder);
const counter = countGpu();
const { CreateMLCEngine } = await import("@mlc-ai/web-llm");
const { loadSeconds, engine } = await openWebLlm(CreateMLCEngine, record);
const figures = await measure(
  engine,
  {
    read: async () => counter.read(),
    pretend: async () => counter.pretend(),
    readHeap: async () => {
      const { heapUsed, external } = process.memoryUsage();
      return heapUsed + external;
    },
  },
  plan,
);
console.log(JSON.stringify({ engine: "web-llm", loadSeconds, ...figures }));
// Dawn keeps the process alive while a device exists, and crashes when it is collected.
process.stdout.write("", () => process.exit(0));
