/**
 * Our engine on our own page, from inside, as measure.ts wants an engine. The page is opened without
 * a model; its worker has worker_counters.mjs.
 */
import { measure } from "/measure.mjs";

const channel = new BroadcastChannel("bench-counters");

function ask(question) {
  return new Promise((resolve) => {
    channel.onmessage = ({ data }) => resolve(data);
    channel.postMessage(question);
  });
}

/** The page tells when the first token came and how fast the others did; not when each came. */
async function complete(messages, maxTokens) {
  const startedAt = performance.now();
  const options = { temperature: 0, maxTokens };
  const { promptTokens, cachedTokens, completionTokens, timings } =
    await window.transom.models.generate({ messages, options });
  const firstAt = startedAt + timings.timeToFirstTokenSeconds * 1000;
  const step = (timings.decodeSeconds * 1000) / Math.max(1, completionTokens - 1);
  const tokenTimes = Array.from({ length: completionTokens }, (_, index) => firstAt + index * step);
  return { promptTokens, cachedTokens, tokenTimes };
}

/** @param model the part after "?" of an address. */
export async function run(model, plan) {
  // The page says that it was given no model.
  await window.transom.ready.catch(() => undefined);
  const startedAt = performance.now();
  const load = await window.transom.models.load(model);
  const loadSeconds = (performance.now() - startedAt) / 1000;
  const meter = {
    read: () => ask("read"),
    pretend: () => ask("pretend"),
    readHeap: async () => (await performance.measureUserAgentSpecificMemory()).bytes,
  };
  return { engine: "transom", ...(await measure({ complete }, meter, plan)), load, loadSeconds };
}
