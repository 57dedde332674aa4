import { afterEach, describe, expect, it, vi } from "vitest";

import type { HttpAnswer, HttpControl, HttpRequest, Place } from "../../web/src/api-protocol.ts";
import { aliveLock } from "../../web/src/api-protocol.ts";
import { Answering } from "../../web/src/sw/answering.ts";
import { MAX_BODY_BYTES } from "../../web/src/sw/kept-request.ts";
import { type Leader, Leaders } from "../../web/src/sw/leaders.ts";
import { Leaving } from "../../web/src/sw/leaving.ts";
import { FakeLocks } from "./fake-locks.ts";

const AUTO: Place = { wanted: "auto", hasWebGpu: true, hasServer: true };
const HEAD: HttpAnswer = { kind: "head", status: 200, headers: [["X-Kept", "1"]] };
const REFUSED: HttpAnswer = {
  kind: "refused",
  error: { code: "model-not-found", message: "No such model." },
  status: 404,
  headers: [["Content-Type", "application/json"]],
  body: '{"error":"local"}',
};

/** What a request waits for a head, but where a test is about the end of that. */
const PATIENCE = 60_000;
const SHORT_PATIENCE = 2000;

let headMilliseconds = PATIENCE;

afterEach(() => {
  vi.unstubAllGlobals();
  headMilliseconds = PATIENCE;
});

const NEVER = new AbortController().signal;
const FOREVER = new Promise<never>(() => undefined);

/** What an API worker does with a request. `controls`: what came on its port R. */
type Work = (
  request: HttpRequest,
  post: (answer: HttpAnswer) => void,
  controls: HttpControl["kind"][],
) => void;

function chunk(text: string): HttpAnswer {
  return { kind: "chunk", bytes: new TextEncoder().encode(text) };
}

/** Leaders that follow each other, each with its API worker; after the last one nobody leads. */
function house(place: Place, ...works: Work[]) {
  const asked: HttpRequest[] = [];
  const controls: HttpControl["kind"][] = [];
  const ends: AbortController[] = [];
  let index = 0;
  const leaders = works.map((work, number): Leader => {
    const { port1, port2 } = new MessageChannel();
    port2.onmessage = ({ data }: MessageEvent<HttpRequest>) => {
      asked.push(data);
      data.port.onmessage = ({ data: control }: MessageEvent<HttpControl>) => {
        controls.push(control.kind);
      };
      const post = (answer: HttpAnswer) => {
        data.port.postMessage(answer);
      };
      work(data, post, controls);
    };
    const end = new AbortController();
    ends.push(end);
    return { id: String(number), apiWorker: 1, port: port1, error: null, place, gone: end.signal };
  });
  const answering = new Answering(
    { id: "sw", lives: Promise.resolve() },
    { find: () => Promise.resolve(leaders[index] ?? null) },
    headMilliseconds,
  );
  const gone = new AbortController();
  const leaving = new AbortController();
  return {
    asked,
    controls,
    gone,
    leaving,
    leave: () => ends[index++]?.abort(),
    ask: (path = "/v1/chat/completions", init: RequestInit = { method: "POST", body: "{}" }) =>
      answering.answer(new Request(`http://host${path}`, init), path, gone.signal, leaving.signal),
  };
}

/** The server: answers, or is not reached. */
function server(answer: Response | null) {
  const asked: [url: string, init: RequestInit][] = [];
  vi.stubGlobal("fetch", (url: string, init: RequestInit) => {
    asked.push([url, init]);
    return answer === null ? Promise.reject(new TypeError("failed")) : Promise.resolve(answer);
  });
  return asked;
}

async function said(response: Response) {
  return [response.status, response.headers.get("transom-served-by"), await response.text()];
}

describe("Answering", () => {
  it("never asks a server where the request is for this browser", async () => {
    const init = { method: "POST", body: "{}", headers: { "Transom-Where": "browser" } };
    const places: Place[] = [AUTO, { wanted: "server", hasWebGpu: false, hasServer: true }];
    for (const place of places) {
      const atServer = server(new Response("server"));
      const { ask } = house(place, (_, post) => {
        post(REFUSED);
      });
      const [status, servedBy, text] = await said(await ask("/v1/chat/completions", init));
      expect([status, text]).toEqual([404, '{"error":"local"}']);
      expect(servedBy).toMatch(/^browser; /);
      expect(atServer).toEqual([]);
    }
    const atServer = server(new Response("server"));
    const alone = await house(AUTO).ask("/v1/chat/completions", init);
    expect(alone.status).toBe(503);
    headMilliseconds = SHORT_PATIENCE;
    const blob = await house(AUTO, () => undefined)
      .ask("/api/blobs/sha256:00", init)
      .catch(String);
    expect(blob).not.toBe("server");
    expect(atServer).toEqual([]);
  });

  it("streams what the API worker says, as it is read", async () => {
    let at = 0;
    const { ask, asked, controls } = house(AUTO, (request, post) => {
      request.port.onmessage = ({ data }: MessageEvent<HttpControl>) => {
        controls.push(data.kind);
        post(at < 3 ? chunk(`${at++} `) : { kind: "end" });
      };
      post(HEAD);
    });
    const response = await ask();
    await vi.waitFor(() => {
      expect(controls).toEqual(["pull"]);
    });
    expect(response.headers.get("x-kept")).toBe("1");
    expect(await said(response)).toEqual([200, "browser; models run on this device", "0 1 2 "]);
    expect(controls).toEqual(["pull", "pull", "pull", "pull"]);
    const [{ method, target, body, from } = {} as HttpRequest] = asked;
    expect([method, target, from]).toEqual(["POST", "/v1/chat/completions", "sw"]);
    expect(new TextDecoder().decode(body ?? new ArrayBuffer())).toBe("{}");
  });

  it("asks for nothing that nobody reads, and says when nobody reads any more", async () => {
    const { ask, controls } = house(AUTO, (_, post) => {
      post(HEAD);
      post(chunk("a"));
    });
    const reader = (await ask()).body?.getReader();
    await reader?.read();
    await vi.waitFor(() => {
      expect(controls).toEqual(["pull"]);
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(controls).toEqual(["pull"]);
    await reader?.cancel();
    await vi.waitFor(() => {
      expect(controls.at(-1)).toBe("cancel");
    });
  });

  it("sends a refused request to the server, unchanged", async () => {
    const { ask } = house(AUTO, (_, post) => {
      post(REFUSED);
    });
    const asked = server(new Response("from afar", { headers: { "X-Theirs": "2" } }));
    const response = await ask("/v1/chat/completions?x=1", {
      method: "POST",
      body: "héllo",
      headers: { "X-Mine": "3" },
    });
    expect(response.headers.get("x-theirs")).toBe("2");
    expect(response.headers.get("transom-reason")).toBe("cannot model-not-found");
    expect(await said(response)).toEqual([
      200,
      "server; this browser cannot: No such model",
      "from afar",
    ]);
    const [[url, init] = ["", {}]] = asked;
    expect(url).toBe("http://host/v1/chat/completions?x=1");
    expect(init.method).toBe("POST");
    expect((init.headers as Headers).get("x-mine")).toBe("3");
    expect(new TextDecoder().decode(init.body as ArrayBuffer)).toBe("héllo");
  });

  it.each([
    ["there is no server", { ...AUTO, hasServer: false }, "models run on this device"],
    ["the server is not reached", AUTO, "the server is not reached"],
    ["no server is wanted", { ...AUTO, wanted: "browser" as const }, "as chosen"],
  ])("tells in its own words where %s", async (_, place, why) => {
    const { ask } = house(place, (__, post) => {
      post(REFUSED);
    });
    server(null);
    const answer = await ask();
    expect(answer.headers.get("transom-reason")).toBe("model-not-found");
    expect(await said(answer)).toEqual([
      404,
      `browser; No such model; ${why}`,
      '{"error":"local"}',
    ]);
  });

  it("asks the server first without an adapter, and here where that is not reached", async () => {
    const place = { ...AUTO, hasWebGpu: false };
    const { ask } = house(place, (_, post) => {
      post(HEAD);
      post(chunk("slow"));
      post({ kind: "end" });
    });
    server(new Response("quick"));
    expect(await said(await ask())).toEqual([
      200,
      "server; this browser has no graphics adapter for models",
      "quick",
    ]);
    server(null);
    expect(await said(await ask())).toEqual([200, "browser; the server is not reached", "slow"]);
  });

  it("asks the next leader where one goes without a word", async () => {
    const { ask, asked, leave } = house(
      AUTO,
      (_, post) => {
        // A head alone is no word: it may have been the last thing that a tab did.
        post(HEAD);
        setTimeout(leave, 20);
      },
      (_, post) => {
        post(HEAD);
        post(chunk("second"));
        post({ kind: "end" });
      },
    );
    expect((await said(await ask()))[2]).toBe("second");
    expect(asked.map(({ body }) => body?.byteLength)).toEqual([2, 2]);
  });

  it("does not ask the next API worker what the one before hung at", async () => {
    server(null);
    const locks = new FakeLocks();
    void locks.request(aliveLock("a"), () => new Promise(() => undefined));
    await new Promise((resolve) => setTimeout(resolve, 0));
    const leaders = new Leaders("http://host/", locks, () => Promise.resolve(), 1000);
    let asked = 0;
    const lead = (apiWorker: number) => {
      const { port1: port, port2 } = new MessageChannel();
      port2.onmessage = () => asked++;
      leaders.receive({ kind: "leads", leader: "a", apiWorker, port, place: AUTO });
    };
    const answering = new Answering({ id: "sw", lives: Promise.resolve() }, leaders, 5000);
    lead(1);
    const request = new Request("http://host/api/chat", { method: "POST", body: "{}" });
    const answer = answering.answer(request, "/api/chat", NEVER, NEVER);
    await vi.waitFor(() => {
      expect(asked).toBe(1);
    });
    // As the page says it: two messages, one after the other.
    const error = { code: "internal", message: "The template did not end." } as const;
    setTimeout(() => {
      leaders.receive({ kind: "unable", leader: "a", error, place: AUTO });
    }, 0);
    setTimeout(() => {
      lead(2);
    }, 0);
    const response = await answer;
    expect(response.status).toBe(503);
    expect(await response.text()).toContain("The template did not end.");
    await vi.waitFor(async () => {
      expect((await leaders.find(NEVER))?.apiWorker).toBe(2);
    });
    expect(asked).toBe(1);
  });

  it("breaks a stream whose leader goes, and asks nobody else", async () => {
    const { ask, asked, leave } = house(
      AUTO,
      (_, post) => {
        post(HEAD);
        post(chunk("half"));
      },
      () => undefined,
    );
    const response = await ask();
    leave();
    await expect(response.text()).rejects.toThrow("closed");
    expect(asked.length).toBe(1);
  });

  it("asks the server where no leader is left", async () => {
    const { ask, leave } = house(AUTO, () => {
      leave();
    });
    server(new Response("there"));
    expect(await said(await ask())).toEqual([
      200,
      "server; this browser cannot: the page that answers has been closed",
      "there",
    ]);
  });

  it("asks the server where nobody ever led, and takes no file server's page for an answer", async () => {
    const { ask } = house(AUTO);
    server(new Response("[]", { headers: { "Content-Type": "application/json" } }));
    const why = "server; no page of Transom is open in this browser";
    const answer = await ask("/api/tags", {});
    expect(answer.headers.get("transom-reason")).toBe("no-page");
    expect(await said(answer)).toEqual([200, why, "[]"]);
    server(new Response("<p>", { status: 404, headers: { "Content-Type": "text/html" } }));
    expect((await ask("/api/tags", {})).status).toBe(503);
  });

  it("turns away before the browser loses its patience", async () => {
    headMilliseconds = SHORT_PATIENCE;
    const { ask, controls } = house({ ...AUTO, hasServer: false }, () => undefined);
    const response = await ask();
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "5"]);
    await vi.waitFor(() => {
      expect(controls).toEqual(["cancel"]);
    });
  });

  it("stops the work for a client that has left", async () => {
    const { ask, gone, controls } = house(AUTO, () => undefined);
    const answer = ask();
    await new Promise((resolve) => setTimeout(resolve, 20));
    gone.abort(new Error("gone"));
    await expect(answer).rejects.toThrow("gone");
    await vi.waitFor(() => {
      expect(controls).toEqual(["cancel"]);
    });
  });

  it("answers with a head that comes ahead, so that whoever leaves is heard", async () => {
    const { ask, controls } = house(AUTO, (_, post) => {
      post(HEAD);
    });
    const response = await ask();
    expect(response.headers.get("x-kept")).toBe("1");
    await response.body?.cancel();
    await vi.waitFor(() => {
      expect(controls).toEqual(["pull", "cancel"]);
    });
  });

  it("waits longer than browsers do for what comes behind a head", async () => {
    headMilliseconds = SHORT_PATIENCE;
    const { ask } = house(AUTO, (_, post) => {
      post(HEAD);
      setTimeout(() => {
        post(chunk("all"));
        post({ kind: "end" });
      }, 2 * SHORT_PATIENCE);
    });
    expect(await (await ask()).text()).toBe("all");
  });

  it("breaks the connection of an answer that broke off", async () => {
    const { ask } = house(AUTO, (_, post) => {
      post(HEAD);
      setTimeout(() => {
        post({ kind: "broken" });
      }, 400);
    });
    const response = await ask();
    expect(response.status).toBe(200);
    await expect(response.text()).rejects.toThrow("broke off");
  });

  it("sends pictures to a server that sees, and says once that nobody does", async () => {
    const blind: HttpAnswer = {
      kind: "refused",
      error: { code: "invalid-request", message: "tiny sees no images; leave them out" },
      status: 400,
      headers: [["Content-Type", "application/json"]],
      body: '{"error":"tiny sees no images; leave them out"}',
    };
    const refuse: Work = (_, post) => {
      post(blind);
    };
    const init = { method: "POST", body: '{"images":["iVBO"]}' };
    const seeing = server(new Response("a cat"));
    expect(await said(await house(AUTO, refuse).ask("/api/chat", init))).toEqual([
      200,
      "server; this browser cannot: tiny sees no images; leave them out",
      "a cat",
    ]);
    expect(new TextDecoder().decode(seeing[0]?.[1].body as ArrayBuffer)).toBe(init.body);
    // The server's own refusal is the answer; without a server it is the page's.
    server(new Response("blind", { status: 400 }));
    const theirs = await said(await house(AUTO, refuse).ask("/api/chat", init));
    expect([theirs[0], theirs[2]]).toEqual([400, "blind"]);
    const none = server(null);
    const alone = { ...AUTO, hasServer: false };
    const ours = await said(await house(alone, refuse).ask("/api/chat", init));
    expect([ours[0], ours[2]]).toEqual([400, blind.body]);
    expect(none).toEqual([]);
  });

  it("passes a key on to the server alone, and to nobody whom that names", async () => {
    const headers = { Authorization: "Bearer secret", "x-api-key": "secret", "X-Other": "1" };
    const init = { method: "POST", body: "{}", headers };
    const atServer = server(new Response("server"));
    const { ask, asked } = house(AUTO, (_, post) => {
      post(REFUSED);
    });
    expect(await (await ask("/v1/chat/completions", init)).text()).toBe("server");
    const [, sent] = atServer[0] ?? [];
    expect(new Headers(sent?.headers).get("authorization")).toBe("Bearer secret");
    expect(sent?.redirect).toBe("error");
    expect(JSON.stringify(asked[0]?.headers)).toContain("x-other");
    expect(JSON.stringify(asked[0]?.headers)).not.toContain("secret");
  });

  it("refuses a body that it could not keep", async () => {
    const { ask, asked } = house(AUTO, () => undefined);
    const body = new Uint8Array(MAX_BODY_BYTES + 1);
    const response = await ask("/api/chat", { method: "POST", body });
    expect(response.status).toBe(413);
    expect(asked).toEqual([]);
  });

  it("lets the files of models through unread", async () => {
    const { ask } = house(AUTO, () => undefined);
    const asked = server(new Response(null, { status: 201 }));
    const response = await ask("/api/blobs/sha256:1", { method: "POST", body: "weights" });
    expect(response.status).toBe(201);
    expect((asked[0]?.[0] as unknown as Request).bodyUsed).toBe(false);
  });

  it("gives HEAD and 204 no body", async () => {
    const { ask } = house(AUTO, ({ method }, post) => {
      post(method === "HEAD" ? HEAD : { kind: "head", status: 204, headers: [] });
      post({ kind: "end" });
    });
    const head = await ask("/v1/models", { method: "HEAD" });
    expect([head.status, head.body]).toEqual([200, null]);
    expect((await ask("/api/delete", { method: "DELETE" })).status).toBe(204);
  });
});

describe("a newer build that is called", () => {
  const LEAVING = "browser; a newer build of the page takes over";
  const WORDS = "Ask again in a moment: a newer build of the page takes over.";
  const POST = { method: "POST", body: "{}" };

  /** As browsers do it: nobody answers, and a fetch ends with its signal. */
  function silentServer() {
    const signals: (AbortSignal | null | undefined)[] = [];
    vi.stubGlobal("fetch", (_: unknown, { signal }: RequestInit) => {
      signals.push(signal);
      return new Promise((_, reject) => {
        signal?.addEventListener("abort", () => {
          reject(signal.reason as Error);
        });
      });
    });
    return signals;
  }

  /** Asked a moment before, ended by it. */
  async function ended(
    answering: Answering,
    target = "/api/chat",
    init: RequestInit = POST,
  ): Promise<unknown[]> {
    const leaving = new AbortController();
    const request = new Request(`http://host${target}`, init);
    const answer = answering.answer(request, target, NEVER, leaving.signal);
    await new Promise((resolve) => setTimeout(resolve, 20));
    leaving.abort();
    return said(await answer);
  }

  function leader(place: Place): Leader {
    const { port1: port } = new MessageChannel();
    return { id: "a", apiWorker: 1, port, error: null, place, gone: NEVER };
  }

  function answeringWith(find: () => Promise<Leader | null>, lives: Promise<void>) {
    return new Answering({ id: "sw", lives }, { find }, 60_000);
  }

  const here = () => Promise.resolve(leader({ ...AUTO, wanted: "browser" }));
  const there = () => Promise.resolve(leader({ ...AUTO, wanted: "server" }));

  it.each([
    ["for a page that leads", () => ended(answeringWith(() => FOREVER, Promise.resolve()))],
    ["for its own life", () => ended(answeringWith(here, FOREVER))],
    [
      "for the request's body",
      () => {
        const init = { method: "POST", body: new ReadableStream(), duplex: "half" };
        return ended(answeringWith(here, Promise.resolve()), "/api/chat", init);
      },
    ],
    ["for a head", () => ended(answeringWith(here, Promise.resolve()))],
    ["for the server", () => ended(answeringWith(there, Promise.resolve()))],
    [
      "for the server, with a model's file",
      () => ended(answeringWith(there, Promise.resolve()), "/api/blobs/sha256:1"),
    ],
  ])("ends the wait %s", async (_, ask) => {
    silentServer();
    expect(await ask()).toEqual([503, LEAVING, JSON.stringify({ error: WORDS })]);
  });

  it("ends what the API worker and the server are asked", async () => {
    const { ask, asked, controls, leaving } = house(AUTO, () => undefined);
    const answer = ask();
    await vi.waitFor(() => {
      expect(asked.length).toBe(1);
    });
    leaving.abort();
    expect((await answer).status).toBe(503);
    await vi.waitFor(() => {
      expect(controls).toEqual(["cancel"]);
    });

    const signals = silentServer();
    await ended(answeringWith(there, Promise.resolve()));
    await ended(answeringWith(there, Promise.resolve()), "/api/blobs/sha256:1");
    expect(signals.map((signal) => signal?.aborted)).toEqual([true, true]);
  });

  it("breaks a stream that has begun", async () => {
    const { ask, controls, leaving } = house(AUTO, (_, post) => {
      post(HEAD);
      post(chunk("half"));
    });
    const reader = (await ask()).body?.getReader();
    expect(new TextDecoder().decode((await reader?.read())?.value)).toBe("half");
    leaving.abort(new Error(WORDS));
    await expect(reader?.read()).rejects.toThrow(WORDS);
    await vi.waitFor(() => {
      expect(controls.at(-1)).toBe("cancel");
    });
  });

  it("is told to whoever asks from then on, in the words of each dialect", async () => {
    const find = vi.fn(() => FOREVER);
    const answering = answeringWith(find, Promise.resolve());
    const openai = { message: WORDS, type: "server_error", param: null, code: null };
    const anthropic = { type: "overloaded_error", message: WORDS };
    for (const [path, status, body] of [
      ["/api/chat", 503, { error: WORDS }],
      ["/v1/chat/completions", 503, { error: openai }],
      ["/v1/messages", 529, { type: "error", error: anthropic, request_id: null }],
    ] as const) {
      const request = new Request(`http://host${path}`, POST);
      const response = await answering.answer(request, path, NEVER, AbortSignal.abort());
      expect(response.headers.get("transom-reason")).toBe("leaving");
      expect(response.headers.get("retry-after")).toBe("5");
      expect(await said(response)).toEqual([status, LEAVING, JSON.stringify(body)]);
    }
    // Pages that are asked who leads answer, and keep it busy.
    expect(find).not.toHaveBeenCalled();
  });

  it("is not told to a client that has gone", async () => {
    const { ask, gone, leaving } = house(AUTO, () => undefined);
    const answer = ask();
    gone.abort(new Error("gone"));
    leaving.abort();
    await expect(answer).rejects.toThrow("gone");
  });

  it("that does not begin is waited for no longer than a while", () => {
    vi.useFakeTimers();
    const leaving = new Leaving(1000);
    const before = leaving.signal;
    leaving.begin();
    expect([before.aborted, leaving.signal.aborted]).toEqual([true, true]);
    vi.advanceTimersByTime(900);
    // Another tab calls it.
    leaving.begin();
    vi.advanceTimersByTime(900);
    expect(leaving.signal.aborted).toBe(true);
    vi.advanceTimersByTime(200);
    const after = leaving.signal;
    expect(after.aborted).toBe(false);
    vi.advanceTimersByTime(5000);
    expect(leaving.signal).toBe(after);
    vi.useRealTimers();
  });
});
