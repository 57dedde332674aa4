/** wllama (llama.cpp on the CPU) as measure.ts wants an engine; page only. */
import { Wllama } from "./wllama/index.js";

/** wllama knows no "go on whatever you say": the tokens that end an answer are made impossible. */
const NEVER = -1e9;

/** @param model address of the GGUF file. */
export async function openWllama({ model }) {
  const startedAt = performance.now();
  const wllama = new Wllama(
    {
      "single-thread/wllama.wasm": "./wllama/single-thread/wllama.wasm",
      "multi-thread/wllama.wasm": "./wllama/multi-thread/wllama.wasm",
    },
    { suppressNativeLog: true },
  );
  await wllama.loadModelFromUrl(model, { n_ctx: 4096 });
  const loadSeconds = (performance.now() - startedAt) / 1000;
  const ends = new Set([wllama.getEOS(), wllama.getEOT()]);
  const sampling = {
    temp: 0,
    logit_bias: [...ends].filter((token) => token >= 0).map((token) => ({ token, bias: NEVER })),
  };
  const complete = async (messages, maxTokens) => {
    const prompt = await wllama.formatChat(messages, true);
    const promptTokens = (await wllama.tokenize(prompt, true)).length;
    const tokenTimes = [];
    await wllama.createCompletion(prompt, {
      nPredict: maxTokens,
      sampling,
      useCache: false,
      onNewToken: () => {
        tokenTimes.push(performance.now());
      },
    });
    return { promptTokens, cachedTokens: 0, tokenTimes };
  };
  return { loadSeconds, threads: wllama.getNumThreads(), engine: { complete } };
}
