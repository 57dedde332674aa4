/** A real MCP server (the SDK's) without a socket: `fetch` for its address. */
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/webStandardStreamableHttp.js";
import { z } from "zod";

import type { OutsideFetch } from "../../../web/src/tools/outside-door.ts";

export const ADDRESS = "https://tools.example/mcp";
/** The smallest picture there is: one pixel. */
export const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

export interface TestServer {
  fetch: OutsideFetch;
  /** Requests that came: method, and what JSON-RPC called it. */
  seen: string[];
  /** Headers of the last one. */
  headers: Headers;
  /** As after a restart: sessions are gone. */
  forget: () => void;
  /** Offer one more tool, and tell whoever listens. */
  addTool: (name: string) => void;
}

export function startServer(): TestServer {
  const sessions = new Map<string, WebStandardStreamableHTTPServerTransport>();
  const servers: McpServer[] = [];
  const test: TestServer = {
    seen: [],
    headers: new Headers(),
    fetch: async (address, init) => {
      const request = new Request(address, init);
      test.headers = request.headers;
      const text = request.method === "POST" ? await request.clone().text() : "";
      const { method = "" } = text === "" ? {} : (JSON.parse(text) as { method?: string });
      test.seen.push(`${request.method} ${method}`.trim());
      const id = request.headers.get("mcp-session-id");
      if (id !== null && !sessions.has(id)) {
        return new Response("Session not found", { status: 404 });
      }
      const transport = (id === null ? undefined : sessions.get(id)) ?? (await begin());
      return transport.handleRequest(request);
    },
    forget: () => {
      sessions.clear();
    },
    addTool: (name) => {
      for (const server of servers) {
        server.registerTool(name, {}, () => ({ content: [] }));
      }
    },
  };
  return test;

  async function begin(): Promise<WebStandardStreamableHTTPServerTransport> {
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: () => crypto.randomUUID(),
      onsessioninitialized: (id) => {
        sessions.set(id, transport);
      },
    });
    const server = makeServer();
    servers.push(server);
    await server.connect(transport);
    return transport;
  }
}

function makeServer(): McpServer {
  const server = new McpServer({ name: "test", version: "1" });
  server.registerTool(
    "add",
    {
      title: "Add two numbers",
      description: "Adds.\u202E\u0007",
      inputSchema: { a: z.number(), b: z.number() },
      outputSchema: { sum: z.number() },
    },
    ({ a, b }) => ({
      content: [{ type: "text", text: String(a + b) }],
      structuredContent: { sum: a + b },
    }),
  );
  server.registerTool("picture", { description: "Draws." }, () => ({
    content: [
      { type: "text", text: "Here it is." },
      { type: "image", mimeType: "image/png", data: PIXEL },
      { type: "audio", mimeType: "audio/wav", data: "AAAA" },
      { type: "resource", resource: { uri: "note://1", text: "A note." } },
      { type: "resource_link", uri: "note://2", name: "Another" },
    ],
  }));
  server.registerTool("fails", {}, () => ({
    isError: true,
    content: [{ type: "text", text: "The disk is full." }],
  }));
  server.registerTool("slow", {}, async (extra) => {
    const progressToken = extra._meta?.progressToken;
    for (let progress = 1; progress <= 3 && progressToken !== undefined; progress += 1) {
      await extra.sendNotification({
        method: "notifications/progress",
        params: { progressToken, progress, total: 3, message: `step ${progress}` },
      });
    }
    return { content: [{ type: "text", text: "done" }] };
  });
  server.registerTool("never", {}, () => new Promise(() => undefined));
  return server;
}
