/** What the page has its server do: uploads in pieces that go on, progress in lines, refusals in words. */
import { describe, expect, it, vi } from "vitest";

import { readWork, type WorkStatus } from "../../../web/src/client/progress-lines.ts";
import { ServerModels, WriteRefused } from "../../../web/src/client/server-models.ts";

const BASE = "http://host/ui/";
const DIGEST = `sha256:${"a".repeat(64)}`;
const never = new AbortController().signal;

function lines(...rows: unknown[]): Response {
  return new Response(rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
}

/** A server that keeps uploads, and drops the connection when it is told to. */
class FakeServer {
  readonly asked: string[] = [];
  readonly sessions = new Map<string, number[]>();
  readonly blobs = new Map<string, number>();
  drops = 0;
  /** How often it still says that something needs a blob. */
  needs = 0;

  readonly fetch = async (url: URL, init: RequestInit): Promise<Response> => {
    init.signal?.throwIfAborted();
    const method = init.method ?? "GET";
    const path = url.pathname + url.search;
    this.asked.push(`${method} ${path}`);
    if (new Headers(init.headers).get("Transom-Served-By") !== "server") {
      throw new TypeError("the service worker would answer");
    }
    if (method === "POST" && url.pathname.endsWith("/blobs/uploads/")) {
      if (this.blobs.has(url.searchParams.get("mount") ?? "")) {
        return new Response(null, { status: 201 });
      }
      const address = `/v2/library/uploads/blobs/uploads/${this.sessions.size + 1}`;
      // The proxy in front of it has moved it to where the page is.
      this.sessions.set(`/ui${address}`, []);
      return new Response(null, { status: 202, headers: { Location: address } });
    }
    const digest = url.pathname.split("/").at(-1) ?? "";
    if (method === "DELETE" && digest.startsWith("sha256:")) {
      if (this.needs > 0) {
        this.needs -= 1;
        return new Response(null, { status: 405 });
      }
      return new Response(null, { status: this.blobs.delete(digest) ? 202 : 404 });
    }
    const session = this.sessions.get(url.pathname);
    if (session === undefined) {
      return Response.json({ errors: [] }, { status: 404 });
    }
    const range = () => ({ Range: `0-${Math.max(session.length - 1, 0)}` });
    switch (method) {
      case "PATCH": {
        const bytes = [...new Uint8Array(await (init.body as Blob).arrayBuffer())];
        const first = Number(new Headers(init.headers).get("Content-Range")?.split("-")[0]);
        if (this.drops > 0) {
          this.drops -= 1;
          throw new TypeError("Failed to fetch");
        }
        if (first !== session.length) {
          return new Response(null, { status: 416, headers: range() });
        }
        session.push(...bytes);
        return new Response(null, { status: 202, headers: range() });
      }
      case "GET":
        return new Response(null, { status: 204, headers: range() });
      case "DELETE":
        this.sessions.delete(url.pathname);
        return new Response(null, { status: 204 });
      default:
        this.blobs.set(url.searchParams.get("digest") ?? "", session.length);
        return new Response(null, { status: 201 });
    }
  };
}

function serverModels(server: FakeServer, kept = new Map<string, string | null>()) {
  return new ServerModels({
    baseUrl: BASE,
    fetch: server.fetch,
    pieceBytes: 4,
    pause: () => Promise.resolve(),
    uploads: {
      get: (digest) => Promise.resolve(kept.get(digest) ?? null),
      set: (digest, address) => {
        kept.set(digest, address);
        return Promise.resolve();
      },
    },
  });
}

const FILE = new Blob(["0123456789"]);

describe("upload", () => {
  it("sends a file in pieces", async () => {
    const server = new FakeServer();
    const told: number[] = [];
    await serverModels(server).upload(FILE, DIGEST, (bytes) => told.push(bytes), never);
    expect(server.blobs.get(DIGEST)).toBe(10);
    expect(told).toEqual([0, 4, 8, 10]);
  });

  it("sends nothing of what the server has", async () => {
    const server = new FakeServer();
    server.blobs.set(DIGEST, 10);
    const told: number[] = [];
    await serverModels(server).upload(FILE, DIGEST, (bytes) => told.push(bytes), never);
    expect(told).toEqual([10]);
    expect(server.asked).toHaveLength(1);
  });

  it("asks where it is after a line has dropped", async () => {
    const server = new FakeServer();
    server.drops = 2;
    await serverModels(server).upload(FILE, DIGEST, () => undefined, never);
    expect(server.blobs.get(DIGEST)).toBe(10);
  });

  it("goes on where an earlier page was, and gives up when nothing gets through", async () => {
    const server = new FakeServer();
    const kept = new Map<string, string | null>();
    const first = serverModels(server, kept);
    const drop = (bytes: number) => {
      server.drops = bytes === 8 ? 4 : 0;
    };
    await expect(first.upload(FILE, DIGEST, drop, never)).rejects.toMatchObject({
      code: "network",
    });
    const told: number[] = [];
    const second = serverModels(server, kept);
    server.drops = 4;
    await expect(
      second.upload(FILE, DIGEST, (bytes) => told.push(bytes), never),
    ).rejects.toMatchObject({ code: "network" });
    expect(told[0]).toBe(8);
    await second.upload(FILE, DIGEST, (bytes) => told.push(bytes), never);
    expect(told.at(-1)).toBe(10);
    expect(server.sessions.size).toBe(1);
    expect(kept.get(DIGEST)).toBeNull();
  });

  it("takes back what was sent when somebody stops it", async () => {
    const server = new FakeServer();
    const kept = new Map<string, string | null>();
    const controller = new AbortController();
    const stop = (bytes: number) => {
      if (bytes === 8) {
        controller.abort();
      }
    };
    const models = serverModels(server, kept);
    await expect(models.upload(FILE, DIGEST, stop, controller.signal)).rejects.toThrow();
    await vi.waitFor(() => {
      expect(server.sessions.size).toBe(0);
    });
    expect(kept.get(DIGEST)).toBeNull();
  });

  it("takes back a blob once the work that was stopped has let go of it", async () => {
    const server = new FakeServer();
    expect(await serverModels(server).upload(FILE, DIGEST, () => undefined, never)).toBe(true);
    server.needs = 2;
    await serverModels(server).discard(DIGEST);
    expect(server.blobs.size).toBe(0);
    // One that a model needs stays, and nobody asks for ever.
    await serverModels(server).upload(FILE, DIGEST, () => undefined, never);
    server.needs = 100;
    await serverModels(server).discard(DIGEST);
    expect(server.blobs.size).toBe(1);
    expect(server.needs).toBe(96);
    expect(await serverModels(server).upload(FILE, DIGEST, () => undefined, never)).toBe(false);
  });
});

describe("what the server is asked", () => {
  const answering = (answer: (url: URL, init: RequestInit) => Response) =>
    new ServerModels({ baseUrl: BASE, fetch: (url, init) => Promise.resolve(answer(url, init)) });

  it("tells of a model", async () => {
    const models = answering(() =>
      Response.json({
        license: "Apache License\nVersion 2.0, January 2004",
        model_info: { "general.architecture": "llama", "llama.context_length": 8192 },
        capabilities: ["completion", "tools"],
      }),
    );
    expect(await models.show("a")).toMatchObject({
      license: "Apache-2.0",
      capabilities: ["completion", "tools"],
      contextTokens: 8192,
    });
  });

  it("makes a model of a blob, under the plain name of its file", async () => {
    let body: unknown = null;
    const models = answering((_, init) => {
      body = JSON.parse(init.body as string);
      return lines({ status: "success" });
    });
    await models.create(
      { model: "me/a", fileName: "../My model (1).gguf", digest: DIGEST },
      () => undefined,
      never,
    );
    expect(body).toMatchObject({ model: "me/a", files: { "My-model-1-.gguf": DIGEST } });
  });

  it("has it compiled for browsers where the server can, and says where it cannot", async () => {
    const bodies: { compile?: boolean }[] = [];
    const told: string[] = [];
    const made = (...answers: Response[]) =>
      answering((_, init) => {
        bodies.push(JSON.parse(init.body as string) as { compile?: boolean });
        return answers.shift() ?? lines({ status: "success" });
      }).create(
        { model: "a", fileName: "a.gguf", digest: DIGEST },
        ({ text }) => told.push(text),
        never,
      );
    const note = { status: "note: not for browsers: an odd architecture" };
    expect(await made(lines({ status: "packing" }, note, { status: "success" }))).toEqual([
      "not for browsers: an odd architecture",
    ]);
    expect(told).toEqual(["packing", "success"]);
    bodies.length = 0;
    expect(await made(lines({ error: "this needs tvm" }))).toEqual(["This needs tvm."]);
    expect(bodies.map(({ compile }) => compile)).toEqual([true, false]);
    await expect(made(Response.json({ error: "no" }, { status: 403 }))).rejects.toThrow("No.");
    // People know a file by its name.
    await expect(
      made(lines({ error: `${DIGEST}: no GGUF` }), lines({ error: `${DIGEST}: no GGUF at all` })),
    ).rejects.toThrow(/^a\.gguf: no GGUF at all\.$/);
    expect(bodies).toHaveLength(5);
  });

  it("says that it may not be changed", async () => {
    const models = answering(() =>
      Response.json({ error: "this server lets nobody change its store" }, { status: 403 }),
    );
    const pulled = models.pull("a", () => undefined, never);
    await expect(pulled).rejects.toBeInstanceOf(WriteRefused);
    await expect(pulled).rejects.toThrow("This server lets nobody change its store.");
  });
});

describe("readWork", () => {
  const read = async (response: Response) => {
    const told: WorkStatus[] = [];
    await readWork(response, (status) => told.push(status));
    return told;
  };

  it("adds up the files that come side by side", async () => {
    const told = await read(
      lines(
        { status: "pulling manifest" },
        { status: "pulling a", digest: "sha256:a", total: 100, completed: 10 },
        { status: "pulling b", digest: "sha256:b", total: 50 },
        { status: "pulling a", digest: "sha256:a", total: 100, completed: 100 },
        { status: "quantizing", total: 7, completed: 3 },
        { status: "success" },
      ),
    );
    expect(told.map(({ doneBytes, totalBytes }) => [doneBytes, totalBytes])).toEqual([
      [null, null],
      [10, 100],
      [10, 150],
      [100, 150],
      [3, 7],
      [null, null],
    ]);
  });

  it("takes any chunking", async () => {
    const bytes = new TextEncoder().encode('{"status":"größer"}\n{"status":"success"}\n');
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const byte of bytes) {
          controller.enqueue(Uint8Array.of(byte));
        }
        controller.close();
      },
    });
    expect((await read(new Response(stream))).map(({ text }) => text)).toEqual([
      "größer",
      "success",
    ]);
  });

  it.each([
    [lines({ status: "pulling" }, { error: "no such model" }), "No such model."],
    [lines({ status: "pulling" }), "ended before the work did"],
    [new Response("<html>\n"), "garbled"],
    [new Response("x".repeat(70_000)), "no status"],
    [new Response("7\n"), "garbled"],
    [new Response(null), "ended before"],
  ])("tells what went wrong", async (response, message) => {
    await expect(read(response)).rejects.toThrow(message);
  });
});
