import { describe, expect, it } from "vitest";

import { EngineClient } from "../../web/src/client/engine-client.ts";
import { toWireError, TransomError } from "../../web/src/errors.ts";
import type { Done, LoadProgress, LoadReport } from "../../web/src/protocol.ts";
import { FakeWorker } from "./fake-worker.ts";

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
