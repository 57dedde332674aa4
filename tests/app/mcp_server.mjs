/**
 * A real MCP server (the SDK's) over Streamable HTTP, as somebody else might run it for web pages.
 *
 *   node tests/app/mcp_server.mjs [--token SECRET] [--no-cors]
 *
 * Says its address on the first line, then a line for each request: its method, and what JSON-RPC calls it.
 */
import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { parseArgs } from "node:util";

import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StreamableHTTPServerTransport } from "@modelcontextprotocol/sdk/server/streamableHttp.js";
import { z } from "zod";

const PIXEL =
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
const { values } = parseArgs({
  options: { token: { type: "string" }, "no-cors": { type: "boolean", default: false } },
});
const sessions = new Map();

function makeServer() {
  const server = new McpServer({ name: "harbour", version: "1" });
  server.registerTool(
    "tide",
    {
      title: "Tide table",
      description: "<b>When</b> the water is high in a port.",
      inputSchema: { port: z.string() },
    },
    ({ port }) => ({
      content: [
        { type: "text", text: `High water in ${port} at 06:12.` },
        { type: "image", mimeType: "image/png", data: PIXEL },
      ],
    }),
  );
  server.registerTool("sink", { description: "Always fails." }, () => ({
    isError: true,
    content: [{ type: "text", text: "The ship is leaking." }],
  }));
  return server;
}

async function sessionOf(request) {
  const id = request.headers["mcp-session-id"];
  if (id !== undefined) {
    return sessions.get(id);
  }
  const transport = new StreamableHTTPServerTransport({
    sessionIdGenerator: () => randomUUID(),
    onsessioninitialized: (made) => sessions.set(made, transport),
  });
  await makeServer().connect(transport);
  return transport;
}

const server = createServer(async (request, response) => {
  if (!values["no-cors"]) {
    response.setHeader("Access-Control-Allow-Origin", "*");
    response.setHeader("Access-Control-Allow-Methods", "GET, POST, DELETE");
    response.setHeader(
      "Access-Control-Allow-Headers",
      "Authorization, Content-Type, Mcp-Session-Id, Mcp-Protocol-Version, Last-Event-Id",
    );
    response.setHeader("Access-Control-Expose-Headers", "Mcp-Session-Id");
  }
  if (request.method === "OPTIONS") {
    response.writeHead(204).end();
    return;
  }
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
  }
  const body = text === "" ? undefined : JSON.parse(text);
  console.log(`${request.method} ${body?.method ?? ""}`.trim());
  if (values.token !== undefined && request.headers.authorization !== `Bearer ${values.token}`) {
    response.writeHead(401).end();
    return;
  }
  const transport = await sessionOf(request);
  if (transport === undefined) {
    response.writeHead(404).end("Session not found");
    return;
  }
  await transport.handleRequest(request, response, body);
});
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${server.address().port}/mcp`);
});
