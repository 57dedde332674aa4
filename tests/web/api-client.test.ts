import { describe, expect, it } from "vitest";

import { ApiClient } from "../../web/src/client/api-client.ts";
import type { CompletionPiece } from "../../web/src/client/completion-stream.ts";
import { chatEvents, FakeApi, json, stream } from "./fake-api.ts";

const HI = [{ role: "user", content: "Hi" }] as const;

function open(...answers: ConstructorParameters<typeof FakeApi>) {
  const api = new FakeApi(...answers);
  const client = new ApiClient("https://host/sub/", api.fetch);
  return { api, client };
}

function ask(client: ApiClient, messages: readonly { role: "user"; content: string }[] = HI) {
  const pieces: CompletionPiece[] = [];
  const running = client.complete({ model: "tiny", messages, options: {} }, (piece) => {
    pieces.push(piece);
  });
  return { ...running, pieces };
}

describe("ApiClient", () => {
  it("asks beside the page, in the API's words", async () => {
    const { api, client } = open(stream(chatEvents(["Hel", "lo"])));
    const options = { temperature: 0, topP: 0.5, seed: 5, maxTokens: 7, logprobs: true };
    await client.complete({ model: "tiny", messages: HI, options }, () => undefined).done;
    expect(api.requests).toEqual([
      {
        url: "https://host/sub/v1/chat/completions",
        body: {
          model: "tiny",
          messages: HI,
          stream: true,
          stream_options: { include_usage: true },
          temperature: 0,
          top_p: 0.5,
          seed: 5,
          max_completion_tokens: 7,
          logprobs: true,
        },
      },
    ]);
  });

  it("reads pieces, figures, and who answered", async () => {
    const headers = { "Transom-Served-By": "browser; its graphics adapter; really" };
    const { client } = open(stream(chatEvents(["Hel", "", "lo"], "length"), { headers }));
    const { done, pieces } = ask(client);
    expect(await done).toEqual({
      finishReason: "length",
      servedBy: { place: "browser", why: "its graphics adapter; really" },
      usage: { promptTokens: 12, cachedTokens: 2, completionTokens: 3 },
      timings: { loadSeconds: 0, promptSeconds: 0.5, completionSeconds: 0.25 },
    });
    expect(pieces.map(({ text }) => text)).toEqual(["Hel", "lo"]);
  });

  it("takes an answer without a header for a server's", async () => {
    const { client } = open(stream(chatEvents(["a"])));
    expect((await ask(client).done).servedBy).toEqual({ place: "server", why: "" });
  });

  it("gathers token ids and thoughts", async () => {
    const logprobs = { content: [{ id: 5, token: "a" }, { token: "b" }, { id: 6 }] };
    const choices = [{ delta: { content: null, reasoning_content: "Hm" }, logprobs }];
    const { client } = open(stream([{ choices }, "[DONE]"]));
    const { done, pieces } = ask(client);
    await done;
    expect(pieces).toEqual([{ text: "", reasoning: "Hm", tokenIds: [5, 6], calls: [] }]);
  });

  it.each([
    [
      "OpenAI's words",
      json(404, { error: { message: "no model tiny; list them", code: "model_not_found" } }),
      { code: "model-not-found", message: "No model tiny; list them." },
    ],
    ["Ollama's words", json(400, { error: "no." }), { code: "invalid-request", message: "No." }],
    ["a busy server", json(503, { error: { message: "full" } }), { code: "busy" }],
    [
      "a page of some proxy",
      () => new Response("<h1>Bad Gateway", { status: 502, statusText: "Bad Gateway" }),
      { code: "network", message: "This address answered 502 Bad Gateway." },
    ],
    [
      "a host that sends its page to everybody",
      () => new Response("<!doctype html>", { headers: { "Content-Type": "text/html" } }),
      { code: "network", message: "No model answers at this address: it sent text/html." },
    ],
    [
      "nobody",
      () => Promise.reject(new TypeError("Failed to fetch")),
      { code: "network", message: "Nobody answers: Failed to fetch." },
    ],
    [
      "an error in mid-stream",
      stream([...chatEvents(["Hel"]).slice(0, 2), { error: { message: "GPU lost", code: null } }]),
      { code: "internal", message: "GPU lost." },
    ],
    [
      "a stream that ends too early",
      stream(chatEvents(["Hel"]).slice(0, -1)),
      { code: "network", message: "The answer broke off: its connection was closed." },
    ],
    ["what is no JSON", stream(["{"]), { code: "network", message: 'The answer is garbled: "{".' }],
  ])("tells %s", async (_, answer, error) => {
    await expect(ask(open(answer).client).done).rejects.toMatchObject(error);
  });

  it("keeps what came before a connection broke", async () => {
    const events = chatEvents(["Hel"]).slice(0, 2);
    const { client } = open(stream(events, { error: new TypeError("network error") }));
    const { done, pieces } = ask(client);
    await expect(done).rejects.toMatchObject({
      code: "network",
      message: "The answer broke off: network error.",
    });
    expect(pieces.map(({ text }) => text)).toEqual(["Hel"]);
  });

  it("continues a text where a model has no template", async () => {
    const noTemplate = json(400, { error: { message: "none", code: "no_chat_template" } });
    const texts = stream([{ choices: [{ text: "lo", finish_reason: "stop" }] }, "[DONE]"]);
    const { api, client } = open(noTemplate, texts, noTemplate);
    const { done, pieces } = ask(client);
    await done;
    expect(api.requests[1]).toMatchObject({
      url: "https://host/sub/v1/completions",
      body: { prompt: "Hi", stream: true },
    });
    expect(api.requests[1]?.body).not.toHaveProperty("messages");
    expect(pieces.map(({ text }) => text)).toEqual(["lo"]);
    await expect(ask(client, [...HI, ...HI]).done).rejects.toThrow(/Start a new chat/);
  });

  it("stops before the head, and in the middle", async () => {
    const { client } = open(() => new Promise(() => undefined));
    const waiting = ask(client);
    waiting.abort();
    expect((await waiting.done).finishReason).toBe("abort");

    const cut = open(stream(chatEvents(["Hel"]).slice(0, 2), { staysOpen: true }));
    const running: ReturnType<ApiClient["complete"]> = cut.client.complete(
      { model: "tiny", messages: HI, options: {} },
      () => {
        running.abort();
      },
    );
    expect(await running.done).toMatchObject({ finishReason: "abort", usage: null });
    expect(cut.api.cancelled).toBe(1);
  });
});
