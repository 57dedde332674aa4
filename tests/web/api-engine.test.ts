import { afterEach, describe, expect, it } from "vitest";

import type { CompleteRequest, EngineAnswer, EngineCall } from "../../web/src/api-protocol.ts";
import { type ApiEngine, serveEngineCalls } from "../../web/src/client/api-engine.ts";
import { TransomError } from "../../web/src/errors.ts";

const REQUEST: CompleteRequest = {
  model: "library/tiny:latest",
  prompt: "hi",
  sampling: {
    temperature: 0,
    topK: 40,
    topP: 0.9,
    minP: 0,
    typicalP: 1,
    repeatLastN: 64,
    repeatPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    seed: 1,
  },
  maxTokens: 4,
  stop: [],
  jsonSchema: null,
  grammar: null,
  stopTokenIds: [],
  ignoreEos: false,
  logitBias: [],
  choices: 1,
  logprobs: null,
  preserved: [],
};

/** Says one token, then waits to be aborted. */
class FakeEngine implements ApiEngine {
  aborted: unknown = null;

  models() {
    return Promise.resolve([]);
  }

  open(name: string) {
    return Promise.reject(new TransomError("model-not-found", `There is no ${name}.`));
  }

  complete(
    _request: CompleteRequest,
    onEvents: Parameters<ApiEngine["complete"]>[1],
    signal?: AbortSignal,
  ) {
    onEvents([
      { kind: "token", choice: 0, tokenIds: [7], text: "é", logprobs: [], promptTokens: 3 },
    ]);
    return new Promise<void>((_resolve, reject) => {
      signal?.addEventListener("abort", () => {
        this.aborted = signal.reason;
        reject(signal.reason as Error);
      });
    });
  }

  embed() {
    return Promise.resolve({ vectors: [Float32Array.of(0.6, 0.8)], tokens: 2 });
  }

  tokenize() {
    return Promise.resolve([1, 2]);
  }

  detokenize() {
    return Promise.resolve("hi");
  }

  unload() {
    return Promise.resolve();
  }
}

const ports: MessagePort[] = [];
afterEach(() => {
  for (const port of ports.splice(0)) {
    port.close();
  }
});

function serve() {
  const { port1, port2 } = new MessageChannel();
  ports.push(port1, port2);
  const engine = new FakeEngine();
  const close = serveEngineCalls(port2, engine);
  const heard: EngineAnswer[] = [];
  let wake: () => void = () => undefined;
  port1.addEventListener("message", ({ data }: MessageEvent<EngineAnswer>) => {
    heard.push(data);
    wake();
  });
  port1.start();
  const until = async (isEnough: () => boolean) => {
    while (!isEnough()) {
      await new Promise<void>((resolve) => (wake = resolve));
    }
  };
  const say = (call: EngineCall) => {
    port1.postMessage(call);
  };
  return { engine, close, heard, until, say, port1 };
}

describe("serveEngineCalls", () => {
  it("answers each call by its id, and keeps errors' codes", async () => {
    const { heard, until, say } = serve();
    say({ kind: "models", id: 1, payload: null });
    say({ kind: "open", id: 2, payload: { name: "x" } });
    say({ kind: "embed", id: 3, payload: { model: "x", inputs: ["a", [1]] } });
    await until(() => heard.length === 3);
    expect(heard).toContainEqual({ kind: "reply", id: 1, value: [] });
    expect(heard).toContainEqual({
      kind: "error",
      id: 2,
      error: { code: "model-not-found", message: "There is no x." },
    });
    expect(heard).toContainEqual({
      kind: "reply",
      id: 3,
      value: { vectors: [Float32Array.of(0.6, 0.8)], tokens: 2 },
    });
  });

  it("ends an answer that is aborted with its reply", async () => {
    const { heard, until, say } = serve();
    say({ kind: "complete", id: 1, payload: REQUEST });
    await until(() => heard.length === 1);
    say({ kind: "abort", id: 2, payload: { callId: 1 } });
    await until(() => heard.length === 3);
    expect(heard).toMatchObject([
      { kind: "events", id: 1, events: [{ text: "é" }] },
      { kind: "reply", value: null },
      { kind: "reply", value: null },
    ]);
  });

  it("aborts what runs when the other end has gone", async () => {
    const { engine, heard, until, say, port1 } = serve();
    say({ kind: "complete", id: 1, payload: REQUEST });
    await until(() => heard.length === 1);
    port1.close();
    await expect.poll(() => engine.aborted).toMatchObject({ code: "aborted" });
  });

  it("aborts what runs when it is told to close", async () => {
    const { engine, heard, until, say, close } = serve();
    say({ kind: "complete", id: 1, payload: REQUEST });
    await until(() => heard.length === 1);
    close();
    expect(engine.aborted).toMatchObject({ code: "aborted" });
  });
});
