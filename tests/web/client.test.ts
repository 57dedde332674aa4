import { describe, expect, it } from "vitest";

import { ChatSession } from "../../web/src/client/chat-session.ts";
import { EngineClient, type WorkerPort } from "../../web/src/client/engine-client.ts";
import { toWireError, TransomError } from "../../web/src/errors.ts";
import type {
  Done,
  LoadProgress,
  LoadReport,
  Request,
  WorkerMessage,
} from "../../web/src/protocol.ts";

const DONE: Done = {
  finishReason: "stop",
  stopTokenId: 2,
  promptTokens: 12,
  cachedTokens: 2,
  completionTokens: 3,
  timings: { timeToFirstTokenSeconds: 0.6, prefillSeconds: 0.5, decodeSeconds: 0.25 },
};

const LOADING: LoadProgress = {
  phase: "weights",
  file: "params_shard_0.bin",
  doneBytes: 1,
  totalBytes: 2,
  bytesFromCache: 0,
  bytesDownloaded: 1,
  bytesPerSecond: 1,
  secondsLeft: 1,
  pipelineFraction: 1,
  fit: null,
};

/** The worker's end of the wire, driven by the test; messages are cloned as in a browser. */
class FakeWorker implements WorkerPort {
  readonly requests: Request[] = [];
  readonly #listeners = new Map<string, ((event: never) => void)[]>();

  postMessage(message: unknown): void {
    this.requests.push(structuredClone(message) as Request);
  }

  addEventListener(type: string, listener: (event: never) => void): void {
    this.#listeners.set(type, [...(this.#listeners.get(type) ?? []), listener]);
  }

  say(message: WorkerMessage): void {
    this.emit("message", { data: structuredClone(message) });
  }

  emit(type: string, event: object): void {
    for (const listener of this.#listeners.get(type) ?? []) {
      listener(event as never);
    }
  }

  lastId(): number {
    return this.requests.at(-1)?.id ?? 0;
  }
}

describe("EngineClient", () => {
  it("ties replies and progress to their request", async () => {
    const worker = new FakeWorker();
    const client = new EngineClient(worker);
    const seen: string[] = [];
    const source = { kind: "folder", baseUrl: "http://host/b/" } as const;
    const loading = client.load({ source, overrides: {} }, ({ phase }) => seen.push(phase));
    const id = worker.lastId();
    worker.say({ kind: "loading", id: id + 1, progress: LOADING });
    worker.say({ kind: "loading", id, progress: LOADING });
    worker.say({ kind: "reply", id, value: { model: "tiny" } as LoadReport });
    expect(await loading).toEqual({ model: "tiny" });
    expect(seen).toEqual(["weights"]);
  });

  it("gives an error back with its code", async () => {
    const worker = new FakeWorker();
    const generation = new EngineClient(worker).generate({ messages: [], options: {} }, () => 0);
    const error = toWireError(new TransomError("context-overflow", "Too long."));
    worker.say({ kind: "error", id: worker.lastId(), error });
    await expect(generation.done).rejects.toMatchObject({
      code: "context-overflow",
      message: "Too long.",
    });
  });

  it("asks to abort the running generation, and nothing once it is over", async () => {
    const worker = new FakeWorker();
    const generation = new EngineClient(worker).generate({ messages: [], options: {} }, () => 0);
    const id = worker.lastId();
    generation.abort();
    expect(worker.requests.at(-1)).toMatchObject({ kind: "abort", payload: { requestId: id } });
    worker.say({ kind: "reply", id, value: { ...DONE, finishReason: "abort" } });
    expect((await generation.done).finishReason).toBe("abort");
    const sent = worker.requests.length;
    generation.abort();
    expect(worker.requests).toHaveLength(sent);
  });

  it("lets nobody wait for a dead worker", async () => {
    const worker = new FakeWorker();
    const client = new EngineClient(worker);
    const waiting = client.generate({ messages: [], options: {} }, () => 0);
    worker.emit("error", { message: "out of memory" });
    await expect(waiting.done).rejects.toThrow(/engine worker failed: out of memory/);
    const later = client.generate({ messages: [], options: {} }, () => 0);
    await expect(later.done).rejects.toMatchObject({ code: "engine-crashed" });
  });
});

describe("ChatSession", () => {
  function open() {
    const worker = new FakeWorker();
    return { worker, session: new ChatSession(new EngineClient(worker)) };
  }

  it("gathers pieces, keeps history, and counts", async () => {
    const { worker, session } = open();
    const texts: string[] = [];
    const answer = session.ask("Hi", {}, (_, { text }) => texts.push(text));
    const id = worker.lastId();
    worker.say({ kind: "piece", id, tokenId: 5, text: "Hel" });
    worker.say({ kind: "piece", id, tokenId: 6, text: "" });
    worker.say({ kind: "piece", id, tokenId: 7, text: "lo" });
    worker.say({ kind: "piece", id, tokenId: null, text: "\ufffd" });
    worker.say({ kind: "reply", id, value: DONE });
    expect(await answer).toEqual({
      text: "Hello\ufffd",
      tokenIds: [5, 6, 7],
      finishReason: "stop",
      promptTokens: 12,
      cachedTokens: 2,
      completionTokens: 3,
      timeToFirstTokenSeconds: 0.6,
      prefillTokensPerSecond: 20,
      decodeTokensPerSecond: 8,
    });
    expect(texts).toEqual(["Hel", "Hel", "Hello", "Hello\ufffd"]);
    expect(session.history).toEqual([
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello\ufffd" },
    ]);
  });

  it("sends the whole conversation", async () => {
    const { worker, session } = open();
    for (const text of ["one", "two"]) {
      const answer = session.ask(text, { temperature: 0 }, () => 0);
      worker.say({ kind: "piece", id: worker.lastId(), tokenId: 1, text: `re: ${text}` });
      worker.say({ kind: "reply", id: worker.lastId(), value: DONE });
      await answer;
    }
    expect(worker.requests.at(-1)?.payload).toEqual({
      messages: [
        { role: "user", content: "one" },
        { role: "assistant", content: "re: one" },
        { role: "user", content: "two" },
      ],
      options: { temperature: 0 },
    });
  });

  it("takes a failed question back, so the history stays one the template accepts", async () => {
    const { worker, session } = open();
    const answer = session.ask("Hi", {}, () => 0);
    const error = { code: "gpu-error", message: "no" } as const;
    worker.say({ kind: "error", id: worker.lastId(), error });
    await expect(answer).rejects.toMatchObject({ code: "gpu-error" });
    expect(session.history).toEqual([]);
    expect(session.isAnswering).toBe(false);
  });

  it("keeps a stopped answer as far as it came", async () => {
    const { worker, session } = open();
    const answer = session.ask("Hi", {}, () => 0);
    const id = worker.lastId();
    worker.say({ kind: "piece", id, tokenId: 5, text: "Hel" });
    session.stop();
    worker.say({ kind: "reply", id, value: { ...DONE, finishReason: "abort" } });
    expect((await answer).finishReason).toBe("abort");
    expect(session.history.at(-1)).toEqual({ role: "assistant", content: "Hel" });
  });

  it("answers one question at a time", async () => {
    const { worker, session } = open();
    const answer = session.ask("Hi", {}, () => 0);
    await expect(session.ask("again", {}, () => 0)).rejects.toMatchObject({ code: "busy" });
    expect(() => {
      session.clear();
    }).toThrow(/on its way/);
    worker.say({ kind: "reply", id: worker.lastId(), value: DONE });
    await answer;
    session.clear();
    expect(session.history).toEqual([]);
  });
});
