/** The way out: what may pass, how it is passed on, and that nothing is opened before it is needed. */
import { afterEach, describe, expect, it, vi } from "vitest";

import { refusalOf } from "../../../web/src/outside/gate.ts";
import { serveOutside } from "../../../web/src/outside/requests.ts";
import {
  MAX_BODY_BYTES,
  MAX_HEADERS,
  MAX_REQUESTS,
  MAX_URL_CHARACTERS,
  type ToOutside,
} from "../../../web/src/outside-protocol.ts";
import { isPrivate, readAddress, warningsOf } from "../../../web/src/tools/address.ts";
import { type DoorPort, OutsideDoor } from "../../../web/src/tools/outside-door.ts";

const HOME = "https://chat.example";

function request(fields: Partial<ToOutside & { kind: "request" }> = {}) {
  return {
    kind: "request" as const,
    id: 1,
    url: "https://elsewhere.example/",
    method: "GET",
    headers: [],
    body: null,
    redirect: "follow" as const,
    ...fields,
  };
}

describe("what may go out", () => {
  it.each([
    "https://elsewhere.example/",
    "https://elsewhere.example:8443/x?y#z",
    "http://localhost:8000/mcp",
    "http://127.0.0.1/",
    "https://192.168.1.1/",
  ])("%s", (url) => {
    expect(refusalOf(request({ url }), HOME)).toBeNull();
  });

  it.each([
    ["http://elsewhere.example/", /Only https/],
    ["http://localhost.evil.example/", /Only https/],
    ["http://192.168.1.1/", /Only https/],
    ["file:///etc/passwd", /Only https/],
    ["javascript:alert(1)", /Only https/],
    ["data:text/html,x", /Only https/],
    ["blob:https://chat.example/1", /Only https/],
    ["ws://elsewhere.example/", /Only https/],
    ["/v1/models", /no address/],
    ["https://me:secret@elsewhere.example/", /name or password/],
    [`${HOME}/v1/models`, /this page itself/],
    [`${HOME}:443/v1/models`, /this page itself/],
  ])("not %s", (url, reason) => {
    expect(refusalOf(request({ url }), HOME)).toMatch(reason);
  });

  it("has limits, and the largest within them passes", () => {
    const url = (length: number) => "https://a.example/".padEnd(length, "x");
    expect(refusalOf(request({ url: url(MAX_URL_CHARACTERS) }), HOME)).toBeNull();
    expect(refusalOf(request({ url: url(MAX_URL_CHARACTERS + 1) }), HOME)).toMatch(/8192/);
    const body = (length: number) => ({ method: "POST", body: new Uint8Array(length) });
    expect(refusalOf(request(body(MAX_BODY_BYTES)), HOME)).toBeNull();
    expect(refusalOf(request(body(MAX_BODY_BYTES + 1)), HOME)).toMatch(/body/);
    const headers = (count: number) => Array.from({ length: count }, () => ["a", "b"] as const);
    expect(refusalOf(request({ headers: headers(MAX_HEADERS) }), HOME)).toBeNull();
    expect(refusalOf(request({ headers: headers(MAX_HEADERS + 1) }), HOME)).toMatch(/headers/);
    expect(refusalOf(request({ headers: [["a", "x".repeat(16 * 1024)]] }), HOME)).toMatch(/head/);
    expect(refusalOf(request({ method: "PUT" }), HOME)).toMatch(/PUT/);
    expect(refusalOf(request({ method: "DELETE" }), HOME)).toBeNull();
  });
});

describe("addresses", () => {
  it.each([
    "localhost",
    "printer.local",
    "router.lan",
    "nas",
    "db.internal",
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "[::1]",
    "[::]",
    "[fe80::1]",
    "[fd00::1]",
    "[::ffff:7f00:1]",
    "[::ffff:c0a8:1]",
    "LOCALHOST.",
  ])("%s is the person's own", (hostname) => {
    expect(isPrivate(hostname)).toBe(true);
  });

  it.each([
    "example.org",
    "local.example",
    "8.8.8.8",
    "172.15.0.1",
    "172.32.0.1",
    "192.169.0.1",
    "100.128.0.1",
    "[2001:4860:4860::8888]",
    "[::ffff:808:808]",
  ])("%s is of the internet", (hostname) => {
    expect(isPrivate(hostname)).toBe(false);
  });

  it("are private however they are spelled", () => {
    for (const spelled of ["https://0x7f.1/", "https://2130706433/", "https://017700000001/"]) {
      expect(isPrivate(new URL(spelled).hostname)).toBe(true);
    }
  });

  it("tell what stands out", () => {
    expect(warningsOf(readAddress("https://example.org/page"))).toEqual([]);
    expect(warningsOf(readAddress("https://example.org/?q=secret"))).toEqual(["carries-text"]);
    expect(warningsOf(readAddress("http://localhost:8000/"))).toEqual(["private-address"]);
  });

  it.each([
    7,
    null,
    "",
    "example.org",
    "http://example.org/",
    "ftp://x/",
    "https://a:b@c.example/",
  ])("that cannot be asked: %j", (text) => {
    expect(() => readAddress(text)).toThrow(/\w/);
  });
});

describe("requests", () => {
  const ports: MessagePort[] = [];
  afterEach(() => {
    for (const port of ports.splice(0)) {
      port.close();
    }
  });

  /** The page's door, and the frame behind it with that `fetch`. */
  function through(answer: (url: string, init: RequestInit) => Promise<Response>) {
    const open = vi.fn(() => {
      const { port1, port2 } = new MessageChannel();
      ports.push(port1, port2);
      serveOutside(port2, HOME, answer);
      port1.start();
      return Promise.resolve(port1 as DoorPort);
    });
    return { open, door: new OutsideDoor(open) };
  }

  it("open the frame when there is one, and only one", async () => {
    const { open, door } = through(() => Promise.resolve(new Response("x")));
    expect(open).not.toHaveBeenCalled();
    await Promise.all([door.fetch("https://a.example/"), door.fetch("https://b.example/")]);
    expect(open).toHaveBeenCalledTimes(1);
  });

  it("go without cookies and referrer, and bring status, headers and body", async () => {
    const seen: [string, RequestInit][] = [];
    const { door } = through((url, init) => {
      seen.push([url, init]);
      return Promise.resolve(
        new Response("hello", { status: 418, statusText: "Teapot", headers: { "X-A": "1" } }),
      );
    });
    const response = await door.fetch("https://a.example/x", {
      method: "POST",
      headers: { Authorization: "Bearer t" },
      body: '{"a":1}',
    });
    expect([response.status, response.statusText, response.ok]).toEqual([418, "Teapot", false]);
    expect(response.headers.get("X-A")).toBe("1");
    expect(await response.text()).toBe("hello");
    const [[url, init] = ["", {}]] = seen;
    expect(url).toBe("https://a.example/x");
    expect(init).toMatchObject({
      method: "POST",
      credentials: "omit",
      referrerPolicy: "no-referrer",
      cache: "no-store",
      mode: "cors",
      redirect: "follow",
    });
    expect(new Headers(init.headers).get("Authorization")).toBe("Bearer t");
    expect(await new Response(init.body ?? null).text()).toBe('{"a":1}');
  });

  it("bring a body piece by piece, as it is read", async () => {
    let pulled = 0;
    const body = () =>
      new ReadableStream<Uint8Array>(
        {
          pull: (controller) => {
            pulled += 1;
            controller.enqueue(new TextEncoder().encode(`piece ${pulled};`));
          },
        },
        { highWaterMark: 0 },
      );
    const { door } = through(() => Promise.resolve(new Response(body())));
    const response = await door.fetch("https://a.example/");
    const reader = response.body?.getReader();
    const read = async () => new TextDecoder().decode((await reader?.read())?.value);
    expect(await read()).toBe("piece 1;");
    expect(await read()).toBe("piece 2;");
    expect(pulled).toBe(2);
    await reader?.cancel();
  });

  it("end with the reason where they fail", async () => {
    const { door } = through(() => Promise.reject(new TypeError("Failed to fetch")));
    await expect(door.fetch("https://a.example/")).rejects.toThrow(TypeError);
    await expect(door.fetch("http://a.example/")).rejects.toThrow(/Only https/);
    const broken = through(() =>
      Promise.resolve(
        new Response(
          new ReadableStream({
            pull: (controller) => {
              controller.error(new TypeError("network error"));
            },
          }),
        ),
      ),
    );
    const response = await broken.door.fetch("https://a.example/");
    await expect(response.text()).rejects.toThrow("network error");
  });

  it("are stopped on both sides", async () => {
    let heard: AbortSignal | null | undefined;
    const { door } = through((_, { signal }) => {
      heard = signal;
      return new Promise((_resolve, reject) => {
        signal?.addEventListener("abort", () => {
          reject(new DOMException("Aborted", "AbortError"));
        });
      });
    });
    const stop = new AbortController();
    const answer = door.fetch("https://a.example/", { signal: stop.signal });
    await expect.poll(() => heard).toBeDefined();
    stop.abort();
    await expect(answer).rejects.toThrow(/abort/i);
    await expect.poll(() => heard?.aborted).toBe(true);
    await expect(door.fetch("https://a.example/", { signal: stop.signal })).rejects.toThrow();
  });

  it("tell a redirect that was not to be followed", async () => {
    const { door } = through((_, { redirect }) => {
      expect(redirect).toBe("manual");
      const response = new Response(null);
      Object.defineProperty(response, "type", { value: "opaqueredirect" });
      return Promise.resolve(response);
    });
    const response = await door.fetch("https://a.example/", { redirect: "manual" });
    expect([response.type, response.status, response.ok]).toEqual(["opaqueredirect", 0, false]);
  });

  it("may be answered without a body", async () => {
    const { door } = through(() => Promise.resolve(new Response(null, { status: 204 })));
    const response = await door.fetch("https://a.example/", { method: "DELETE" });
    expect([response.status, response.body]).toEqual([204, null]);
  });

  it("are not without end", async () => {
    const never = () => new Promise<Response>(() => undefined);
    const { door } = through(never);
    const asked = Array.from({ length: MAX_REQUESTS + 1 }, () =>
      door.fetch("https://a.example/").then(
        () => "answered",
        (error: unknown) => String(error),
      ),
    );
    expect(await Promise.race(asked)).toMatch(/More than 32 requests at once/);
  });

  it("try to open the frame again after it did not load", async () => {
    let isBroken = true;
    const { port1, port2 } = new MessageChannel();
    ports.push(port1, port2);
    serveOutside(port2, HOME, () => Promise.resolve(new Response("x")));
    const door = new OutsideDoor(() => {
      port1.start();
      return isBroken ? Promise.reject(new Error("did not load")) : Promise.resolve(port1);
    });
    await expect(door.fetch("https://a.example/")).rejects.toThrow("did not load");
    isBroken = false;
    expect(await (await door.fetch("https://a.example/")).text()).toBe("x");
  });
});
