/**
 * The page: reads the address, starts the engine worker, and wires views to the chat session.
 */
import { type AnswerReport, ChatSession } from "../client/chat-session.ts";
import { EngineClient } from "../client/engine-client.ts";
import { listLayout, listModels } from "../client/model-list.ts";
import { SteadyEngine } from "../client/steady-engine.ts";
import { TransomError, describe } from "../errors.ts";
import type { ChatRequest, LoadProgress, LoadReport, LoadRequest } from "../protocol.ts";
import { addressOf, readAddress, readHost } from "./address.ts";
import { addAnswer, addQuestion, clearMessages } from "./chat-view.ts";
import { byId, make } from "./dom.ts";
import {
  hideDoor,
  showChoice,
  showEncoder,
  showLoading,
  showNotice,
  showReady,
} from "./door-view.ts";
import { openStorage, refreshStorage } from "./storage-view.ts";
import { showContext, showMachine, showRevival, showSpeed } from "./status-view.ts";

const dock = byId("dock", HTMLElement);
const composer = byId("composer", HTMLFormElement);
const question = byId("question", HTMLTextAreaElement);
const sendButton = byId("send", HTMLButtonElement);
const stopButton = byId("stop", HTMLButtonElement);
const newChatButton = byId("new-chat", HTMLButtonElement);
const modelName = byId("model-name", HTMLParagraphElement);

const HEADLINES: Partial<Record<TransomError["code"], string>> = {
  "no-webgpu": "This browser has no WebGPU",
  "no-adapter": "No graphics adapter",
  "model-not-found": "No such model",
  "digest-mismatch": "A file is not what it should be",
  "device-lost": "The graphics adapter is gone",
  "out-of-memory": "Not enough graphics memory",
  "adapter-too-small": "This graphics adapter is too small",
  network: "The download failed",
};

const client = new SteadyEngine(() => {
  const worker = new Worker(new URL("../worker/worker.ts", import.meta.url), { type: "module" });
  const engine = new EngineClient(worker);
  return {
    client: engine,
    end: () => {
      worker.terminate();
      engine.end();
    },
  };
}, showRevival);
const session = new ChatSession(client);
const storage = {
  stored: () => client.current.stored(),
  pin: (id: string, isPinned: boolean) => client.current.pin(id, isPinned),
  remove: (id: string) => client.current.remove(id),
  import: (...request: Parameters<EngineClient["import"]>) => client.current.import(...request),
  addressOf: (id: string) => addressOf(id, new URL(location.href)),
};
let machine: LoadReport | null = null;
let lastProgress: LoadProgress | null = null;

const ready = start();
// Rejections are on the screen already; who awaits `ready` hears them too.
ready.catch(() => undefined);

window.transom = {
  ready,
  ask: async (text, options = {}) => {
    await ready;
    return ask(text, options);
  },
  embed: async (texts, options = {}) => {
    await ready;
    return client.embed({ texts, ...options });
  },
  partial: () => ({ text: session.partial.text, tokenIds: [...session.partial.tokenIds] }),
  progress: () => lastProgress,
  stop: () => {
    session.stop();
  },
  newChat,
  models: {
    load: (address) => client.load(requestOf(address), () => undefined),
    unload: (model) => client.unload(model),
    fit: (address) => client.current.fit(requestOf(address)),
    generate: async (request) => {
      const answer = { text: "", tokenIds: [] as number[] };
      const done = await client.generate(request, ({ tokenId, text }) => {
        answer.text += text;
        if (tokenId !== null) {
          answer.tokenIds.push(tokenId);
        }
      }).done;
      return { ...done, ...answer };
    },
  },
  storage,
};
openStorage(storage);

/** What an address would load, from its part after "?". */
function requestOf(query: string): LoadRequest {
  const request = readAddress(new URL(`?${query}`, location.href), readHost(document));
  if (request === null) {
    throw new TransomError("no-model", `"${query}" names no model (model=NAME).`);
  }
  return request;
}

async function start(): Promise<LoadReport> {
  try {
    const host = readHost(document);
    const request = readAddress(new URL(location.href), host);
    if (request === null) {
      const list = host === "layout" ? listLayout : listModels;
      showChoice(await list(document.baseURI));
      throw new TransomError("no-model", "The address names no model (?model=NAME).");
    }
    return await load(request);
  } catch (error) {
    if (!(error instanceof TransomError && error.code === "no-model")) {
      showFailure(error);
    }
    throw error;
  }
}

async function load(request: LoadRequest): Promise<LoadReport> {
  const name = nameOf(request);
  modelName.textContent = name;
  dock.hidden = false;
  document.title = `${name} · Transom`;
  const report = await client.load(request, (progress) => {
    lastProgress = progress;
    showLoading(name, progress);
  });
  // An imported one says its name only now.
  modelName.textContent = report.model;
  document.title = `${report.model} · Transom`;
  if (report.isKept) {
    // Else the browser may let go of it whenever its disk is full.
    navigator.storage.persist().catch(() => undefined);
  }
  refreshStorage(storage).catch(() => undefined);
  if (report.task === "embedding") {
    dock.hidden = true;
    showEncoder(name);
    return report;
  }
  machine = report;
  showReady(report, (suggestion) => {
    ask(suggestion, {}).catch(() => undefined);
  });
  showMachine(report);
  newChatButton.hidden = false;
  updateControls();
  question.focus();
  return report;
}

/** Ask and show. @throws what the engine throws, after it is on the screen. */
async function ask(text: string, options: ChatRequest["options"]): Promise<AnswerReport> {
  hideDoor(true);
  addQuestion(text);
  const view = addAnswer();
  const speed = new Speedometer();
  try {
    const answer = session.ask(text, options, (_, { text: soFar, tokenIds }) => {
      view.show(soFar);
      showSpeed(speed.at(tokenIds.length));
    });
    updateControls();
    const report = await answer;
    view.show(report.text);
    view.finish(report);
    showSpeed(report.decodeTokensPerSecond);
    if (machine !== null) {
      showContext(report.promptTokens + report.completionTokens, machine.contextWindowSize);
    }
    return report;
  } catch (error) {
    view.fail(describe(error));
    throw error;
  } finally {
    updateControls();
  }
}

function newChat(): void {
  session.clear();
  clearMessages();
  hideDoor(false);
  updateControls();
  question.focus();
}

function updateControls(): void {
  const isAnswering = session.isAnswering;
  sendButton.hidden = isAnswering;
  stopButton.hidden = !isAnswering;
  sendButton.disabled = machine === null || question.value.trim() === "";
  newChatButton.disabled = isAnswering || session.history.length === 0;
}

function send(): void {
  const text = question.value.trim();
  if (machine === null || session.isAnswering || text === "") {
    return;
  }
  question.value = "";
  fitQuestion();
  ask(text, {}).catch(() => undefined);
}

/** Where CSS cannot let the field grow with its text (`field-sizing`), this does. */
function fitQuestion(): void {
  if (!CSS.supports("field-sizing", "content")) {
    question.style.height = "auto";
    question.style.height = `${question.scrollHeight}px`;
  }
}

function showFailure(error: unknown): void {
  dock.hidden = true;
  const code = error instanceof TransomError ? error.code : "internal";
  const again = make("a", "", "Try again");
  again.href = location.href;
  const others = make("a", "", "Choose a model");
  others.href = location.pathname;
  const links = [again, others];
  const refusal = lastProgress?.fit?.problems.find((problem) => problem.code === code)?.refusal;
  if (refusal === "unless-forced") {
    const anyway = make("a", "", "Load it all the same");
    const address = new URL(location.href);
    address.searchParams.set("force", "1");
    anyway.href = address.href;
    links.unshift(anyway);
  }
  showNotice(HEADLINES[code] ?? "This did not work", describe(error), links);
}

function nameOf({ source }: LoadRequest): string {
  switch (source.kind) {
    case "folder":
      return new URL(source.baseUrl).pathname.split("/").filter(Boolean).at(-1) ?? "bundle";
    case "registry":
      return source.repository.replace(/^library\//, "");
    case "layout":
      return source.reference.replace(/:latest$/, "");
    case "imported":
      return "imported model";
  }
}

/** Tokens per second since the first token of an answer. */
class Speedometer {
  #startedAt = 0;

  at(tokens: number): number {
    const now = performance.now();
    if (tokens <= 1) {
      this.#startedAt = now;
      return 0;
    }
    return ((tokens - 1) / (now - this.#startedAt)) * 1000;
  }
}

composer.addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
question.addEventListener("input", () => {
  fitQuestion();
  updateControls();
});
question.addEventListener("keydown", (event) => {
  // An input method uses Enter to accept its suggestion.
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    send();
  }
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") {
    session.stop();
  }
});
stopButton.addEventListener("click", () => {
  session.stop();
  question.focus();
});
newChatButton.addEventListener("click", newChat);
