import { formatNumber } from "../numbers.ts";

const number = (value: number) => formatNumber("en", value);
const list = new Intl.ListFormat("en", { type: "conjunction" });

export const place = {
  server: "The server at this address",
  browser: "This browser",
  processor: "This browser's processor",
  adapter: "This browser's graphics adapter",
  fromServer: "from the server",
  fromBrowser: "from this browser",
  because: (who: string, why: string) => `${who}, because ${why}`,
  chosen: (who: string) => `${who}, as chosen`,
  inAnotherTab: (who: string) => `${who}, in another tab`,
  reason: (who: string, why: string) => `${who}: ${why}`,
  serverForLack: (lack: string) => `The server at this address, because this browser has ${lack}`,
  serverForFailure: (failure: string) =>
    `The server at this address, because this browser cannot: ${failure}`,
  thereIs: (lacks: readonly string[]) => `there is ${list.format(lacks)}`,
  noWebGpu: "no WebGPU",
  noAdapter: "no graphics adapter for WebGPU",
  noServer: "no server",
  cannot: (why: string) => `this browser cannot: ${why}`,

  answersFrom: "Answers from",
  automatic: "Automatic",
  thisBrowser: "This browser",
  theServer: "The server",
  theServerMissing: "The server (there is none)",
  automaticHint: "The graphics adapter here; where there is none, the server; else the processor.",
  thisBrowserHint: "Nothing you write leaves this device.",
  theServerHint: (host: string) => `What you write goes to ${host}.`,
  details: "Where it runs",
  short: {
    gpu: "GPU",
    cpu: "CPU",
    server: "Server",
  },
  facts: {
    adapter: "Adapter",
    onCpu: (name: string) => `${name} (on the CPU)`,
    unnamed: "unnamed",
    compute: "Compute",
    fallback: (type: string) => `${type}, fallback`,
    runsOn: "Runs on",
    theProcessor: "the processor",
    processorBecause: (reason: string) => `${reason}: running on the processor`,
    threads: (count: number) => `llama.cpp, ${count} ${count === 1 ? "thread" : "threads"}`,
    f16: "16-bit arithmetic",
    yes: "yes",
    no: "no",
    memory: "Memory",
    memoryOf: (bytes: string) => `about ${bytes} of graphics memory`,
    host: "Server",
    engine: "Engine",
    engineLost: "lost the graphics adapter, loading again",
    engineAgain: "started again",
    engineTakingOver: "the tab that answered is closed; loading here",
    speed: "Speed",
    rate: (tokens: string) => `${tokens} tokens/s`,
    first: "First token",
    firstAfter: (time: string) => `after ${time}`,
    prompt: "Prompt",
    promptOf: (tokens: number, cached: number) =>
      cached === 0
        ? `${number(tokens)} tokens`
        : `${number(tokens)} tokens, ${number(cached)} of them known before`,
    context: "Context",
    contextOf: (used: number, size: number) => `${number(used)} of ${number(size)}`,
  },
  meter: {
    label: "Context used",
    used: (used: string, size: string, percent: number) =>
      `${used} of ${size} tokens of the context window, ${percent} %`,
    percent: (percent: number) => `${percent} %`,
    nearly: "The context window is nearly full. Soon the model cannot read the whole conversation.",
    full: "The conversation does not fit into the model's context window any more.",
    withDraft: "With what you are writing, the conversation does not fit into the context window.",
    nothingCut: "Nothing is left out unless you say so.",
    dropOldest: "Leave out the oldest messages",
    newChat: "Begin a new chat",
  },
};
