/**
 * A page with a real house and a real API worker, and an engine that takes no time: what an answer
 * takes here is what its way costs. `python -m tests.bench.page` measures it.
 */
import { folder } from "virtual:pyodide-bundle";

import type { CompleteEvent, OpenedModel } from "../../../web/src/api-protocol.ts";
import type { ApiEngine } from "../../../web/src/client/api-engine.ts";
import { type House, startHouse } from "../../../web/src/client/house.ts";
import { TransomError } from "../../../web/src/errors.ts";

declare global {
  interface Window {
    path: { house: House; answer: typeof answer; saidAt: readonly number[] };
  }
}

/** `bench/4` says four tokens at a time, `bench/1-alone` one now and then. */
const NAME = /^bench\/(\d+)(-alone)?/;
/** Longer than a token is under way. */
const PAUSE_MILLISECONDS = 10;
const PROMPT_TOKENS = 7;

function opened(name: string): OpenedModel {
  return {
    name,
    loadSeconds: 0,
    engine: "webgpu",
    contextTokens: 1_000_000,
    vocabulary: 1000,
    bos: "",
    eos: "",
    addsBos: false,
    parallel: 4,
    task: "generate",
    template:
      "{% for each in messages %}<{{ each.role }}>{{ each.content }}{% endfor %}<assistant>",
    system: null,
    messages: [],
    parameters: {},
    license: null,
  };
}

/** When each token of the last answer was said (`performance.now()`). */
let saidAt: number[] = [];

/**
 * Each batch has a turn of the event loop, as messages of a worker have.
 *
 * @param count tokens of the answer, `batch` of them together.
 */
async function answer(
  count: number,
  batch: number,
  onEvents: (events: readonly CompleteEvent[]) => void,
  signal?: AbortSignal,
  isAlone = false,
): Promise<void> {
  window.path.saidAt = saidAt = [];
  for (let at = 0; at < count && signal?.aborted !== true; at += batch) {
    await (isAlone ? new Promise((resolve) => setTimeout(resolve, PAUSE_MILLISECONDS)) : turn());
    const length = Math.min(batch, count - at);
    saidAt.push(...Array<number>(length).fill(performance.now()));
    onEvents(Array.from({ length }, (_, index) => token(at + index)));
  }
  onEvents([
    {
      kind: "done",
      choice: 0,
      finishReason: "length",
      promptTokens: PROMPT_TOKENS,
      cachedTokens: 0,
      completionTokens: count,
      promptSeconds: 0.5,
      completionSeconds: 0.5,
      stop: null,
    },
  ]);
}

function token(id: number): CompleteEvent {
  const promptTokens = PROMPT_TOKENS;
  return { kind: "token", choice: 0, tokenIds: [id], text: " word", logprobs: [], promptTokens };
}

/** Timers would wait for milliseconds. */
function turn(): Promise<void> {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}

const engine: ApiEngine = {
  models: () => Promise.resolve([]),
  open: (name) =>
    NAME.test(name)
      ? Promise.resolve(opened(name))
      : Promise.reject(new TransomError("model-not-found", `There is no ${name} here.`)),
  complete: ({ model, maxTokens }, onEvents, signal) => {
    const [, batch, isAlone] = NAME.exec(model) ?? [];
    return answer(maxTokens, Number(batch), onEvents, signal, isAlone !== undefined);
  },
  embed: () => Promise.resolve({ vectors: [], tokens: 0 }),
  tokenize: () => Promise.resolve([]),
  detokenize: () => Promise.resolve(""),
  unload: () => Promise.resolve(),
};
const house = startHouse({
  engine: () => engine,
  startApiWorker: () =>
    new Worker(new URL("../../../web/src/api/api-worker.ts", import.meta.url), { type: "module" }),
  bundleUrl: new URL(folder, document.baseURI).href,
  isStatic: true,
});
window.path = { house, answer, saidAt };
