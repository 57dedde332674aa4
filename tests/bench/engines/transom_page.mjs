/** Our own page, from inside, as measure.ts wants an engine. Its worker has worker_counters.mjs. */
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
  window.transom.newChat();
  const startedAt = performance.now();
  const report = await window.transom.ask(messages[0].content, { temperature: 0, maxTokens });
  const firstAt = startedAt + report.timeToFirstTokenSeconds * 1000;
  const step = 1000 / report.decodeTokensPerSecond;
  const tokenTimes = Array.from({ length: report.completionTokens }, (_, index) =>
    index === 0 ? firstAt : firstAt + index * step,
  );
  return { promptTokens: report.promptTokens, cachedTokens: report.cachedTokens, tokenTimes };
}

export async function run(plan) {
  const { loadSeconds, ...load } = await window.transom.ready;
  const meter = {
    read: () => ask("read"),
    pretend: () => ask("pretend"),
    readHeap: async () => (await performance.measureUserAgentSpecificMemory()).bytes,
  };
  const figures = await measure({ complete }, meter, plan);
  return { engine: "transom", loadSeconds, ...figures, load };
}
