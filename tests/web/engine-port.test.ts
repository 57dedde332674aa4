import { describe, expect, it } from "vitest";

import { EnginePort, type EventSink } from "../../web/src/api/engine-port.ts";
import type { CompleteEvent, EngineAnswer, EngineCall } from "../../web/src/api-protocol.ts";
import { FakePort } from "./fake-port.ts";

const DONE: CompleteEvent = {
  kind: "done",
  choice: 0,
  finishReason: "stop",
  promptTokens: 1,
  cachedTokens: 0,
  completionTokens: 1,
  promptSeconds: 0,
  completionSeconds: 0,
  stop: null,
};

function open() {
  const port = new FakePort<EngineAnswer, EngineCall>();
  return { port, engine: new EnginePort(port) };
}

/** Python's function, which is gone after the call unless somebody keeps a copy. */
function sink() {
  const state = { heard: [] as string[], copies: 0, destroyed: 0 };
  const copied: EventSink = Object.assign((events: string) => state.heard.push(events), {
    destroy: () => {
      state.destroyed++;
    },
  });
  const given: EventSink = Object.assign(
    () => {
      throw new Error("This function is gone.");
    },
    {
      copy: () => {
        state.copies++;
        return copied;
      },
    },
  );
  return { given, state };
}

describe("the engine as Python sees it", () => {
  it("asks in JSON and is answered in JSON", async () => {
    const { port, engine } = open();
    const opened = engine.call("open", '{"name":"library/smollm2:latest"}');
    const models = engine.call("models", "null");
    expect(port.posted).toEqual([
      { kind: "open", id: 1, payload: { name: "library/smollm2:latest" } },
      { kind: "models", id: 2, payload: null },
    ]);
    port.receive({ kind: "reply", id: 2, value: [] });
    port.receive({
      kind: "error",
      id: 1,
      error: { code: "model-not-found", message: "There is none." },
    });
    expect(await models.done).toBe('{"value":[]}');
    expect(JSON.parse(await opened.done)).toEqual({
      error: { code: "model-not-found", message: "There is none." },
    });
  });

  it("writes vectors as lists", async () => {
    const { port, engine } = open();
    const { done } = engine.call("embed", '{"model":"m","inputs":["a"]}');
    const value = { vectors: [new Float32Array([0.5, -1])], tokens: 3 };
    port.receive({ kind: "reply", id: 1, value });
    expect(await done).toBe('{"value":{"vectors":[[0.5,-1]],"tokens":3}}');
  });

  it("hands on events as they come, to a copy that it lets go of in the end", async () => {
    const { port, engine } = open();
    const { given, state } = sink();
    const { done } = engine.complete('{"model":"m","logitBias":[]}', given);
    port.receive({ kind: "events", id: 1, events: [DONE, DONE] });
    expect(state.heard).toEqual([JSON.stringify([DONE, DONE])]);
    expect(state).toMatchObject({ copies: 1, destroyed: 0 });
    port.receive({ kind: "reply", id: 1, value: null });
    expect(await done).toBe('{"value":null}');
    expect(state.destroyed).toBe(1);
    port.receive({ kind: "events", id: 1, events: [DONE] });
    expect(state.heard).toHaveLength(1);
  });

  it("reads and writes null for minus infinity", () => {
    const { port, engine } = open();
    const { given, state } = sink();
    engine.complete('{"model":"m","logitBias":[[7,null],[8,1.5]]}', given);
    expect(port.posted[0]).toMatchObject({
      payload: {
        logitBias: [
          [7, -Infinity],
          [8, 1.5],
        ],
      },
    });
    const chosen = { id: 1, text: "a", bytes: [97], logprob: -Infinity };
    const event: CompleteEvent = {
      kind: "token",
      choice: 0,
      tokenIds: [1],
      text: "a",
      logprobs: [{ chosen, top: [] }],
      promptTokens: 1,
    };
    port.receive({ kind: "events", id: 1, events: [event] });
    expect(state.heard[0]).toContain('"logprob":null');
  });

  it("stops an answer by its number, and only while it goes on", () => {
    const { port, engine } = open();
    const completion = engine.complete('{"logitBias":[]}', () => undefined);
    completion.abort();
    expect(port.posted[1]).toEqual({ kind: "abort", id: 2, payload: { callId: 1 } });
    port.receive({ kind: "reply", id: 1, value: null });
    completion.abort();
    expect(port.posted).toHaveLength(2);
  });

  it("stops other calls in the same way", async () => {
    const { port, engine } = open();
    const call = engine.call("embed", '{"model":"m","inputs":["a"]}');
    call.abort();
    expect(port.posted[1]).toEqual({ kind: "abort", id: 2, payload: { callId: 1 } });
    port.receive({ kind: "error", id: 1, error: { code: "aborted", message: "Gone." } });
    expect(JSON.parse(await call.done)).toMatchObject({ error: { code: "aborted" } });
  });

  it("ends all that waits when the page has gone", async () => {
    const { port, engine } = open();
    const waiting = engine.call("models", "null");
    port.lose();
    const later = engine.call("models", "null");
    for (const result of await Promise.all([waiting.done, later.done])) {
      expect(JSON.parse(result)).toMatchObject({ error: { code: "engine-crashed" } });
    }
    expect(port.posted).toHaveLength(1);
  });
});
