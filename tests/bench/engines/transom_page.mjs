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

async function complete(messages, maxTokens) {
  const tokenTimes = [];
  const options = { temperature: 0, maxTokens };
  const { promptTokens, cachedTokens } = await window.transom.models.generate(
    { messages, options },
    ({ tokenId }) => {
      if (tokenId !== null) {
        tokenTimes.push(performance.now());
      }
    },
  );
  if (tokenTimes.length !== maxTokens) {
    throw new Error(`The answer has ${tokenTimes.length} tokens instead of ${maxTokens}.`);
  }
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
