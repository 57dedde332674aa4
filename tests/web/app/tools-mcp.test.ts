/** MCP servers: kept, asked, and called, with the SDK's own server at the other end. */
import { describe, expect, it } from "vitest";

import type { ToolView } from "../../../web/src/chat/types.ts";
import { outputOf } from "../../../web/src/tools/mcp/content.ts";
import type { McpProblem } from "../../../web/src/tools/mcp/problem.ts";
import {
  fieldsOf,
  InvalidField,
  MAX_DESCRIPTION_CHARACTERS,
  MAX_PAGES,
  MAX_SCHEMA_CHARACTERS,
  MAX_SERVERS,
  MAX_TOOLS,
  type McpServer,
  readFields,
  readKept,
  readTool,
  type ServerFields,
} from "../../../web/src/tools/mcp/server.ts";
import { McpServers } from "../../../web/src/tools/mcp/servers.ts";
import type { OutsideFetch } from "../../../web/src/tools/outside-door.ts";
import { ADDRESS, PIXEL, startServer } from "./mcp-server.ts";

const FIELDS: ServerFields = { name: "Tests", url: ADDRESS, token: "", headers: "" };

function open(fetchOutside: OutsideFetch, kept: { id: string }[] = []) {
  const rows = new Map(kept.map((row) => [row.id, row]));
  const servers = new McpServers({
    fetchOutside,
    store: {
      mcpServers: () => Promise.resolve([...rows.values()]),
      putMcpServer: (row) => {
        // As a database does: a copy of plain data, or nothing.
        rows.set(row.id, structuredClone(row));
        return Promise.resolve();
      },
      deleteMcpServer: (id) => {
        rows.delete(id);
        return Promise.resolve();
      },
    },
  });
  const call = async (name: string, input: unknown = {}, stop = new AbortController()) => {
    const views: ToolView[] = [];
    const tool = servers.tools.find((one) => one.name === name);
    const output = await tool?.run(input, {
      signal: stop.signal,
      onView: (view) => views.push(view),
    });
    return { output, views };
  };
  return { servers, call, rows };
}

/** How it is with the first server. */
function first(servers: McpServers) {
  const [state] = servers.states.value;
  if (state === undefined) {
    throw new Error("There is no server.");
  }
  return state;
}

describe("a server", () => {
  it("is added, tells its tools, and is kept", async () => {
    const { fetch } = startServer();
    const { servers, rows } = open(fetch);
    const id = await servers.add(FIELDS);
    expect(first(servers)).toMatchObject({ link: "connected", problem: null });
    expect(servers.tools.map(({ name }) => name)).toEqual([
      "add",
      "picture",
      "fails",
      "slow",
      "never",
    ]);
    expect(servers.tools[0]).toMatchObject({
      title: "Add two numbers",
      description: "Adds.",
      approval: "ask",
      origin: "Tests",
    });
    expect(rows.get(id)).toMatchObject({ name: "Tests", url: ADDRESS, headers: [] });
    await servers.close();
  });

  it("is not asked on the next visit before a call", async () => {
    const before = startServer();
    const { servers, rows } = open(before.fetch);
    await servers.add(FIELDS);
    await servers.close();
    const after = startServer();
    const next = open(after.fetch, [...rows.values()]);
    await next.servers.open();
    expect(next.servers.tools.map(({ name }) => name)).toContain("add");
    expect(first(next.servers).link).toBe("idle");
    expect(after.seen).toEqual([]);
    const { output } = await next.call("add", { a: 2, b: 3 });
    expect(output?.text).toBe("5");
    expect(after.seen[0]).toBe("POST initialize");
    expect(first(next.servers).link).toBe("connected");
    await next.servers.close();
  });

  it("is sent its token with every request", async () => {
    const server = startServer();
    const { servers } = open(server.fetch);
    await servers.add({ ...FIELDS, token: "secret", headers: "X-Team: blue" });
    expect(server.headers.get("Authorization")).toBe("Bearer secret");
    expect(server.headers.get("X-Team")).toBe("blue");
    await servers.close();
  });

  it("is edited, and loses its tools where it is another one", async () => {
    const { fetch } = startServer();
    const { servers } = open(fetch);
    const id = await servers.add(FIELDS);
    await servers.edit(id, { ...FIELDS, name: "Renamed" });
    expect(first(servers).server).toMatchObject({ name: "Renamed", url: ADDRESS });
    expect(servers.tools).toHaveLength(5);
    const nobody = open(
      () => Promise.reject(new TypeError("Failed to fetch")),
      [{ ...first(servers).server }],
    );
    await nobody.servers.open();
    await nobody.servers.edit(id, { ...FIELDS, url: "https://other.example/mcp" });
    expect(nobody.servers.tools).toEqual([]);
    expect(first(nobody.servers).link).toBe("failed");
    await servers.close();
  });

  it("is removed, with all that is kept of it", async () => {
    const { fetch } = startServer();
    const { servers, rows } = open(fetch);
    const id = await servers.add({ ...FIELDS, token: "secret" });
    await servers.remove(id);
    expect(servers.states.value).toEqual([]);
    expect(servers.tools).toEqual([]);
    expect(rows.size).toBe(0);
  });

  it("has a name of its own, and they have an end", async () => {
    const { servers } = open(() => Promise.reject(new TypeError("Failed to fetch")));
    for (let i = 0; i < MAX_SERVERS; i += 1) {
      await servers.add(FIELDS);
    }
    const names = servers.states.value.map(({ server }) => server.name);
    expect(names.slice(0, 2)).toEqual(["Tests", "Tests 2"]);
    expect(new Set(names).size).toBe(MAX_SERVERS);
    await expect(servers.add(FIELDS)).rejects.toMatchObject({ fault: "too-many-servers" });
  });

  it("that forgot the session is asked once more", async () => {
    const server = startServer();
    const { servers, call } = open(server.fetch);
    await servers.add(FIELDS);
    server.forget();
    expect((await call("add", { a: 1, b: 1 })).output?.text).toBe("2");
    expect(server.seen.filter((line) => line === "POST initialize")).toHaveLength(2);
    await servers.close();
  });

  it("says that its tools are others now", async () => {
    const server = startServer();
    const { servers } = open(server.fetch);
    await servers.add(FIELDS);
    server.addTool("new-one");
    await expect.poll(() => servers.tools.map(({ name }) => name)).toContain("new-one");
    await servers.close();
  });
});

describe("a call", () => {
  it("brings text, pictures, and words for what is not shown", async () => {
    const { fetch } = startServer();
    const { servers, call } = open(fetch);
    await servers.add(FIELDS);
    const { output } = await call("picture");
    expect(output).toEqual({
      isError: false,
      text: [
        "Here it is.",
        "[A picture (image/png), which the user sees.]",
        "[Sound, which is not played here.]",
        "A note.",
        "[Another: note://2]",
      ].join("\n\n"),
      views: [{ kind: "image", mediaType: "image/png", base64: PIXEL }],
    });
    await servers.close();
  });

  it("tells its progress", async () => {
    const { fetch } = startServer();
    const { servers, call } = open(fetch);
    await servers.add(FIELDS);
    const { output, views } = await call("slow");
    expect(output?.text).toBe("done");
    expect(views).toEqual([
      { kind: "text", text: "1 / 3 step 1" },
      { kind: "text", text: "2 / 3 step 2" },
      { kind: "text", text: "3 / 3 step 3" },
    ]);
    await servers.close();
  });

  it("that fails is an error of the tool", async () => {
    const { fetch } = startServer();
    const { servers, call } = open(fetch);
    await servers.add(FIELDS);
    expect((await call("fails")).output).toMatchObject({
      isError: true,
      text: "The disk is full.",
    });
    // The server checks, too: arguments that do not fit come back as its error.
    expect((await call("add", { a: "x" })).output?.isError).toBe(true);
    await servers.close();
  });

  it("is stopped", async () => {
    const server = startServer();
    const { servers, call } = open(server.fetch);
    await servers.add(FIELDS);
    const stop = new AbortController();
    const running = call("never", {}, stop);
    await expect.poll(() => server.seen.at(-1)).toBe("POST tools/call");
    stop.abort();
    await expect(running).rejects.toThrow();
    await expect.poll(() => server.seen).toContain("POST notifications/cancelled");
    await servers.close();
  });
});

describe("what goes wrong", () => {
  const problemOf = async (fetchOutside: OutsideFetch): Promise<McpProblem | null> => {
    const { servers } = open(fetchOutside);
    await servers.add(FIELDS);
    expect(first(servers).link).toBe("failed");
    return first(servers).problem;
  };
  const status =
    (code: number, text = "") =>
    () =>
      Promise.resolve(new Response(text, { status: code }));

  it.each<[McpProblem["kind"], OutsideFetch]>([
    ["unreachable", () => Promise.reject(new TypeError("Failed to fetch"))],
    ["unauthorized", status(401)],
    ["forbidden", status(403)],
    ["not-mcp", status(404)],
    ["not-mcp", status(405)],
    ["not-mcp", status(500)],
    [
      "not-mcp",
      () => Promise.resolve(new Response("<html>", { headers: { "Content-Type": "text/html" } })),
    ],
    [
      "not-mcp",
      () => Promise.resolve(new Response("{", { headers: { "Content-Type": "application/json" } })),
    ],
    [
      "not-mcp",
      () =>
        Promise.resolve(new Response("{}", { headers: { "Content-Type": "application/json" } })),
    ],
    [
      "redirected",
      () => {
        const response = new Response(null);
        Object.defineProperty(response, "type", { value: "opaqueredirect" });
        Object.defineProperty(response, "ok", { value: false });
        return Promise.resolve(response);
      },
    ],
  ])("%s", async (kind, fetchOutside) => {
    expect((await problemOf(fetchOutside))?.kind).toBe(kind);
  });

  it("a session that CORS hides has its own words", async () => {
    const { fetch } = startServer();
    const problem = await problemOf(async (address, init) => {
      const response = await fetch(address, init);
      const headers = new Headers(response.headers);
      headers.delete("mcp-session-id");
      return new Response(response.body, { status: response.status, headers });
    });
    expect(problem?.kind).toBe("hidden-session");
  });

  it("leaves a server that can be asked again", async () => {
    const { fetch } = startServer();
    let isThere = false;
    const { servers } = open((address, init) =>
      isThere ? fetch(address, init) : Promise.reject(new TypeError("Failed to fetch")),
    );
    const id = await servers.add(FIELDS);
    expect(first(servers).link).toBe("failed");
    isThere = true;
    await servers.connect(id);
    expect(first(servers)).toMatchObject({ link: "connected", problem: null });
    await servers.close();
  });
});

describe("lists of strangers", () => {
  /** A server that answers JSON-RPC by a table, as no honest one does. */
  function lying(answers: Record<string, (params: { cursor?: string }) => unknown>) {
    const asked: string[] = [];
    const fetchOutside: OutsideFetch = async (address, init) => {
      const request = new Request(address, init);
      if (request.method !== "POST") {
        return new Response(null, { status: 405 });
      }
      const {
        id,
        method,
        params = {},
      } = (await request.json()) as {
        id?: number;
        method: string;
        params?: { cursor?: string };
      };
      asked.push(method);
      if (id === undefined) {
        return new Response(null, { status: 202 });
      }
      const result =
        method === "initialize"
          ? {
              protocolVersion: "2025-06-18",
              capabilities: { tools: {} },
              serverInfo: { name: "liar", version: "0" },
            }
          : answers[method]?.(params);
      return Response.json({ jsonrpc: "2.0", id, result });
    };
    return { asked, fetchOutside };
  }
  const row = (name: string) => ({ name, inputSchema: { type: "object" } });

  it("come in pages, and end", async () => {
    const pages = lying({
      "tools/list": ({ cursor = "0" }) => ({
        tools: [row(`t${cursor}`)],
        ...(cursor === "2" ? {} : { nextCursor: String(Number(cursor) + 1) }),
      }),
    });
    const { servers } = open(pages.fetchOutside);
    await servers.add(FIELDS);
    expect(servers.tools.map(({ name }) => name)).toEqual(["t0", "t1", "t2"]);
    await servers.close();
  });

  it("without an end are ended", async () => {
    const endless = lying({
      "tools/list": ({ cursor = "0" }) => ({
        tools: [row(`t${cursor}`)],
        nextCursor: String(Number(cursor) + 1),
      }),
    });
    const { servers } = open(endless.fetchOutside);
    await servers.add(FIELDS);
    expect(endless.asked.filter((method) => method === "tools/list")).toHaveLength(MAX_PAGES);
    await servers.close();
    const circle = lying({ "tools/list": () => ({ tools: [row("t")], nextCursor: "same" }) });
    const round = open(circle.fetchOutside);
    await round.servers.add(FIELDS);
    expect(circle.asked.filter((method) => method === "tools/list")).toHaveLength(2);
    await round.servers.close();
  });

  it("have a limit of their length", async () => {
    const many = (count: number) =>
      lying({
        "tools/list": () => ({ tools: Array.from({ length: count }, (_, i) => row(`t${i}`)) }),
      });
    for (const count of [MAX_TOOLS, MAX_TOOLS + 1]) {
      const { servers } = open(many(count).fetchOutside);
      await servers.add(FIELDS);
      expect(servers.tools).toHaveLength(MAX_TOOLS);
      await servers.close();
    }
  });

  it("hold tools that can be used, as visible text", () => {
    expect(readTool(row("t"))).not.toBeNull();
    expect(readTool(row(""))).toBeNull();
    expect(readTool(row("x".repeat(129)))).toBeNull();
    expect(readTool({ name: "t", inputSchema: null })).toBeNull();
    const padding = MAX_SCHEMA_CHARACTERS - JSON.stringify({ a: "" }).length;
    expect(readTool({ name: "t", inputSchema: { a: "x".repeat(padding) } })).not.toBeNull();
    expect(readTool({ name: "t", inputSchema: { a: "x".repeat(padding + 1) } })).toBeNull();
    const tool = readTool({
      ...row("t"),
      title: "A\u202Etitle\nof\u0000 two lines",
      description: `hid\u200B\u{E0041}den${"x".repeat(MAX_DESCRIPTION_CHARACTERS)}`,
    });
    expect(tool?.title).toBe("Atitle of two lines");
    expect(tool?.description.startsWith("hiddenx")).toBe(true);
    expect(tool?.description).toHaveLength(MAX_DESCRIPTION_CHARACTERS);
  });

  it("give content of any shape", () => {
    expect(outputOf({}).text).toBe("(The tool gave nothing.)");
    expect(outputOf({ structuredContent: { a: 1 } }).text).toBe('{"a":1}');
    expect(outputOf({ content: [{ type: "image", mimeType: 7, data: null }] }).views).toEqual([]);
    expect(outputOf({ content: [{ type: "hologram" }, {}] }).text).toMatch(/not known here/);
    expect(outputOf({ content: [{ type: "resource" }] }).text).toMatch(/not shown here/);
    const many = outputOf({
      content: Array.from({ length: 300 }, () => ({ type: "text", text: "x" })),
    });
    expect(many.text).toMatch(/44 more parts/);
  });
});

describe("what the person types", () => {
  const read = (fields: Partial<ServerFields>) => readFields({ ...FIELDS, ...fields });

  it("is a server", () => {
    expect(read({})).toEqual({ name: "Tests", url: ADDRESS, headers: [] });
    expect(read({ name: " " }).name).toBe("tools.example");
    expect(read({ url: " http://localhost:8000/mcp#x " }).url).toBe("http://localhost:8000/mcp");
    expect(read({ token: " Bearer abc " }).headers).toEqual([["Authorization", "Bearer abc"]]);
    expect(read({ headers: "X-A: 1\n\n X-B : two words " }).headers).toEqual([
      ["X-A", "1"],
      ["X-B", "two words"],
    ]);
  });

  it.each<[Partial<ServerFields>, InvalidField["field"], InvalidField["fault"]]>([
    [{ url: "" }, "url", "none"],
    [{ url: "tools.example/mcp" }, "url", "none"],
    [{ url: "http://tools.example/mcp" }, "url", "unencrypted"],
    [{ url: "http://localhost.evil.example/mcp" }, "url", "unencrypted"],
    [{ url: "javascript:alert(1)" }, "url", "scheme"],
    [{ url: "file:///etc/passwd" }, "url", "scheme"],
    [{ url: "https://me:secret@tools.example/" }, "url", "credentials"],
    [{ token: "two words" }, "token", "token"],
    [{ token: "a\r\nX-Evil: 1" }, "token", "token"],
    [{ token: "x".repeat(8193) }, "token", "token"],
    [{ headers: "no colon" }, "headers", "header"],
    [{ headers: "X A: 1" }, "headers", "header"],
    [{ headers: "X-A:" }, "headers", "header"],
    [{ headers: "X-A: ü" }, "headers", "header"],
    [{ headers: "X-A: 1\n".repeat(17) }, "headers", "too-many-headers"],
  ])("%j is not", (fields, field, fault) => {
    expect(() => read(fields)).toThrow(InvalidField);
    try {
      read(fields);
    } catch (error) {
      expect(error).toMatchObject({ field, fault });
    }
  });

  it("comes back for editing", () => {
    const typed = { ...FIELDS, token: "abc", headers: "X-A: 1\nX-B: 2" };
    const server: McpServer = { id: "1", ...readFields(typed), tools: [], listedAt: null };
    expect(fieldsOf(server)).toEqual(typed);
  });

  it("is kept by other versions, too", () => {
    const server: McpServer = { id: "1", ...readFields(FIELDS), tools: [], listedAt: 5 };
    expect(readKept(server)).toEqual(server);
    for (const wrong of [null, {}, { ...server, url: "nowhere" }, { ...server, tools: null }]) {
      expect(readKept(wrong)).toBeNull();
    }
  });
});
