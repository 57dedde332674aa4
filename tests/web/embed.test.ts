/** What other sites may ask through the frame, and how it is passed on. */
import { afterEach, describe, expect, it } from "vitest";

import {
  MAX_BODY_CHARACTERS,
  MAX_REQUESTS,
  readOrigins,
  refusalOf,
} from "../../web/src/embed/gate.ts";
import { serveSite } from "../../web/src/embed/requests.ts";
import type { ToFrame, ToSite } from "../../web/src/embed-protocol.ts";

const BASE = new URL("https://models.example/chat/");

function asked(line: string, body: string | null = "{}"): ToFrame & { kind: "request" } {
  const [method = "", path = ""] = line.split(" ");
  return { kind: "request", id: 1, method, path, body };
}

describe("the sites that may ask", () => {
  it("are origins, spelled in the one way", () => {
    const sites = ["https://a.example", "https://b.example:8443", "http://localhost:3000"];
    expect([...readOrigins({ origins: sites })]).toEqual(sites);
    expect(readOrigins({ origins: [] }).size).toBe(0);
  });

  it.each([
    "https://a.example/",
    "https://a.example:443",
    "https://A.example",
    "https://*.example",
    "http://a.example",
    "http://localhost.evil.example",
    "null",
    "*",
    7,
  ])("are not %j", (origin) => {
    expect(() => readOrigins({ origins: [origin] })).toThrow(/is no origin/);
  });

  it.each([null, {}, [], { origins: "https://a.example" }, { origins: Array(1001).fill("x") }])(
    "need a list: %#",
    (file) => {
      expect(() => readOrigins(file)).toThrow(/no list/);
    },
  );
});

describe("what a site may ask", () => {
  it.each(["GET /v1/models", "POST /v1/chat/completions", "POST /api/chat"])("%s", (line) => {
    expect(refusalOf(asked(line))).toBeNull();
  });

  it.each([
    "DELETE /api/delete",
    "POST /api/generate",
    "POST /api/pull",
    "GET /v1/responses/resp_1",
    "POST /v1/responses",
    "GET /v2/",
    "GET /v1/models/../../v2/",
    "POST /v1/chat/completions?x",
    "GET //evil.example/v1/models",
    "get /v1/models",
  ])("not %s", (line) => {
    expect(refusalOf(asked(line))).toMatch(/not offered/);
  });

  it("has a limit of its length", () => {
    const most = "x".repeat(MAX_BODY_CHARACTERS);
    expect(refusalOf(asked("POST /v1/chat/completions", most))).toBeNull();
    expect(refusalOf(asked("POST /v1/chat/completions", `${most}x`))).toMatch(/more than/);
  });
});

describe("requests of a site", () => {
  let end: () => void = () => undefined;
  afterEach(() => {
    end();
  });

  /** A site's end of the port, with what came on it. */
  function connect(request: (address: URL, init: RequestInit) => Promise<Response>) {
    const { port1, port2 } = new MessageChannel();
    const heard: ToSite[] = [];
    let wake: () => void = () => undefined;
    port1.onmessage = ({ data }: MessageEvent<ToSite>) => {
      heard.push(data);
      wake();
    };
    const stop = serveSite(port2, BASE, request);
    end = () => {
      stop();
      port1.close();
    };
    return {
      send: (message: ToFrame) => {
        port1.postMessage(message);
      },
      until: async (count: number) => {
        while (heard.length < count) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        return heard;
      },
    };
  }

  it("go below our folder, are answered here or not at all, and come when they are pulled", async () => {
    let isAhead = false;
    const calls: [string, RequestInit][] = [];
    const site = connect((address, init) => {
      calls.push([address.href, init]);
      const chunks = ["da", "ta"].map((text) => new TextEncoder().encode(text));
      const body = new ReadableStream<Uint8Array>(
        {
          pull: (controller) => {
            const chunk = chunks.shift();
            if (chunk === undefined) {
              controller.close();
            } else {
              isAhead = chunks.length === 0;
              controller.enqueue(chunk);
            }
          },
        },
        { highWaterMark: 0 },
      );
      const headers = { "Content-Type": "text/event-stream", "Set-Cookie": "a=b", "X-Own": "1" };
      return Promise.resolve(new Response(body, { status: 201, headers }));
    });
    site.send(asked("POST /v1/chat/completions", '{"a":1}'));
    await site.until(1);
    site.send({ kind: "pull", id: 1 });
    await site.until(2);
    expect(isAhead).toBe(false);
    site.send({ kind: "pull", id: 1 });
    site.send({ kind: "pull", id: 1 });
    const heard = await site.until(4);

    expect(heard.map(({ kind }) => kind)).toEqual(["head", "chunk", "chunk", "end"]);
    expect(heard[0]).toEqual({
      kind: "head",
      id: 1,
      status: 201,
      headers: [["content-type", "text/event-stream"]],
    });
    const [[address, init] = ["", {}]] = calls;
    expect(address).toBe("https://models.example/chat/v1/chat/completions");
    expect(init).toMatchObject({ method: "POST", body: '{"a":1}', credentials: "omit" });
    expect(init.headers).toMatchObject({ "Transom-Where": "browser" });
  });

  it("end where the site says so, or has too many of them", async () => {
    const signals: AbortSignal[] = [];
    const site = connect((_, { signal }) => {
      signals.push(...(signal ? [signal] : []));
      return new Promise(() => undefined);
    });
    for (let id = 0; id <= MAX_REQUESTS; id++) {
      site.send({ ...asked("GET /v1/models", null), id });
    }
    const [failed] = await site.until(1);
    expect(failed).toMatchObject({ kind: "failed", id: MAX_REQUESTS });
    site.send({ kind: "cancel", id: 3 });
    site.send({ ...asked("GET /v1/models", null), id: 100 });
    site.send({ ...asked("DELETE /api/delete"), id: 101 });
    const heard = await site.until(2);
    expect(heard[1]).toMatchObject({ kind: "failed", id: 101 });
    expect(signals.map(({ aborted }) => aborted).indexOf(true)).toBe(3);
    end();
    expect(signals.every(({ aborted }) => aborted)).toBe(true);
  });

  it("tell why they failed", async () => {
    const site = connect(() => Promise.reject(new TypeError("nobody there")));
    site.send(asked("GET /v1/models", null));
    expect((await site.until(1))[0]).toEqual({ kind: "failed", id: 1, reason: "nobody there" });
  });
});
