/**
 * The API worker as the house uses it, with a scripted engine in place of the page's and this page in
 * place of the service worker. `tests/e2e/test_api_worker.py` drives it as `window.api`.
 */
import { folder } from "virtual:pyodide-bundle";

import type {
  ApiNews,
  CompleteEvent,
  HttpAnswer,
  HttpRequest,
  ModelRow,
  OpenedModel,
  ServeApi,
  StartApi,
} from "../../../web/src/api-protocol.ts";
import { type ApiEngine, serveEngineCalls } from "../../../web/src/client/api-engine.ts";
import { ApiWorkerHost } from "../../../web/src/client/api-worker-host.ts";
import { TransomError } from "../../../web/src/errors.ts";
import { live } from "../../../web/src/life.ts";

/** This page in place of the service worker. */
const SELF = crypto.randomUUID();
void live(SELF, navigator.locks);

const NAME = "library/scripted:latest";
const ROW: ModelRow = {
  name: NAME,
  created: 1_700_000_000,
  bytes: 1000,
  digest: "",
  details: {},
  capabilities: ["completion"],
  loadedBytes: 1000,
  isStored: true,
};
const OPENED: OpenedModel = {
  name: NAME,
  loadSeconds: 0,
  engine: "webgpu",
  contextTokens: 8192,
  vocabulary: 1000,
  bos: "",
  eos: "",
  addsBos: false,
  parallel: 4,
  task: "generate",
  template: "{% for each in messages %}<{{ each.role }}>{{ each.content }}{% endfor %}<assistant>",
  system: null,
  messages: [],
  parameters: {},
  license: null,
};

interface Script {
  /** A token each. */
  pieces: readonly string[];
  /** Tokens that come together. */
  batch: number;
  /** Never ends by itself. */
  isEndless: boolean;
  /** The model's chat template; null: a plain one. */
  template: string | null;
}

const seen = { prompt: "", stopped: 0, askedAt: 0 };
let script: Script = {
  pieces: ["Hel", "lo", " wörld ", "🦊", "."],
  batch: 2,
  isEndless: false,
  template: null,
};

function token(text: string, index: number): CompleteEvent {
  return { kind: "token", choice: 0, tokenIds: [index], text, logprobs: [], promptTokens: 7 };
}

const engine: ApiEngine = {
  models: () => Promise.resolve([ROW]),
  open: (name) =>
    name === "scripted" || name === NAME
      ? Promise.resolve({ ...OPENED, template: script.template ?? OPENED.template })
      : Promise.reject(new TransomError("model-not-found", `There is no ${name} here.`)),
  async complete({ prompt }, onEvents, signal) {
    seen.prompt = prompt;
    seen.askedAt = performance.now();
    const { pieces, batch, isEndless } = script;
    let sent = 0;
    do {
      for (let at = 0; at < pieces.length; at += batch) {
        onEvents(pieces.slice(at, at + batch).map((text, index) => token(text, at + index)));
        sent += batch;
        if (isEndless || sent % 100 === 0) {
          await new Promise((resolve) => setTimeout(resolve, 0));
        }
        if (signal?.aborted) {
          seen.stopped++;
          return;
        }
      }
    } while (isEndless);
    onEvents([
      {
        kind: "done",
        choice: 0,
        finishReason: "stop",
        promptTokens: 7,
        cachedTokens: 0,
        completionTokens: pieces.length,
        promptSeconds: 0.5,
        completionSeconds: 0.5,
        stop: null,
      },
    ]);
  },
  embed: () => Promise.resolve({ vectors: [new Float32Array([0.6, -0.8])], tokens: 3 }),
  tokenize: ({ text }) => Promise.resolve(Array.from(text, (_, index) => index)),
  detokenize: () => Promise.resolve(""),
  unload: () => Promise.resolve(),
};

function startWorker(): Worker {
  return new Worker(new URL("../../../web/src/api/api-worker.ts", import.meta.url), {
    type: "module",
  });
}

/** What came of a request, with milliseconds since it was sent. */
interface Heard {
  status: number;
  headers: Record<string, string>;
  text: string;
  chunks: number;
  refused: string | null;
  headAt: number;
  firstAt: number;
  endAt: number;
  askedEngineAt: number;
}

const api = {
  script(next: Partial<Script>): void {
    script = { ...script, ...next };
  },
  seen: () => seen,
  /** Begin; resolves with what the worker says first. */
  start(at = folder): Promise<ApiNews> {
    worker = startWorker();
    const news = new Promise<ApiNews>((resolve, reject) => {
      worker?.addEventListener("message", ({ data }: MessageEvent<ApiNews>) => {
        resolve(data);
      });
      worker?.addEventListener("error", ({ message }) => {
        reject(new Error(message));
      });
    });
    const calls = new MessageChannel();
    serveEngineCalls(calls.port2, engine);
    const start: StartApi = {
      kind: "start",
      bundleUrl: new URL(at, document.baseURI).href,
      engine: calls.port1,
    };
    worker.postMessage(start, [calls.port1]);
    const requests = new MessageChannel();
    door = requests.port1;
    worker.postMessage({ kind: "serve", port: requests.port2 } satisfies ServeApi, [
      requests.port2,
    ]);
    return news;
  },
  /** The same as the house does it: what hangs is ended, and another one started. */
  watch(): Promise<void> {
    return new Promise((resolve) => {
      const open = () => {
        const { port1, port2 } = new MessageChannel();
        door = port1;
        host.serve(port2);
      };
      const host = new ApiWorkerHost({
        start: () => startWorker(),
        bundleUrl: new URL(folder, document.baseURI).href,
        serveEngine: (port) => serveEngineCalls(port, engine),
        onChange: open,
        onStarted: () => {
          resolve();
        },
        onHang: ({ message }) => {
          hangs.push(message);
        },
      });
      host.engage();
      open();
    });
  },
  hangs: () => hangs,
  /** `stopAfter`: cancel after so many chunks. `waitBetween`: milliseconds before each pull. */
  ask(
    method: string,
    target: string,
    body: unknown,
    { stopAfter = Infinity, waitBetween = 0 } = {},
  ): Promise<Heard> {
    const { port1: port, port2 } = new MessageChannel();
    const begin = performance.now();
    const decoder = new TextDecoder();
    const heard: Heard = {
      status: 0,
      headers: {},
      text: "",
      chunks: 0,
      refused: null,
      headAt: 0,
      firstAt: 0,
      endAt: 0,
      askedEngineAt: 0,
    };
    return new Promise((resolve) => {
      const end = () => {
        heard.endAt = performance.now() - begin;
        heard.askedEngineAt = seen.askedAt - begin;
        resolve(heard);
      };
      const pull = () => {
        setTimeout(() => {
          port.postMessage({ kind: "pull" });
        }, waitBetween);
      };
      port.addEventListener("message", ({ data }: MessageEvent<HttpAnswer>) => {
        switch (data.kind) {
          case "head":
            heard.headAt = performance.now() - begin;
            heard.status = data.status;
            heard.headers = Object.fromEntries(data.headers);
            pull();
            return;
          case "chunk":
            heard.firstAt ||= performance.now() - begin;
            heard.chunks++;
            heard.text += decoder.decode(data.bytes, { stream: true });
            if (heard.chunks >= stopAfter) {
              port.postMessage({ kind: "cancel" });
              end();
            } else {
              pull();
            }
            return;
          case "refused":
            heard.refused = data.error.code;
            heard.status = data.status;
            heard.text = data.body;
            end();
            return;
          case "broken":
          case "end":
            end();
        }
      });
      port.start();
      const bytes = body === null ? null : new TextEncoder().encode(JSON.stringify(body)).buffer;
      const request: HttpRequest = {
        kind: "request",
        from: SELF,
        method,
        target,
        headers: [["content-type", "application/json"]],
        body: bytes,
        port: port2,
      };
      door?.postMessage(request, [port2]);
    });
  },
};

let worker: Worker | null = null;
const hangs: string[] = [];
let door: MessagePort | null = null;

declare global {
  interface Window {
    api: typeof api;
  }
}
window.api = api;
