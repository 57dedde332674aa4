/**
 * A session with one MCP server, by the SDK's client: Streamable HTTP, else the older HTTP with SSE.
 *
 * This file and the SDK are a chunk of their own, fetched when a server is first asked. Every request goes
 * through `fetchOutside`.
 */
import "./zod-setting.ts";

import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { SSEClientTransport } from "@modelcontextprotocol/sdk/client/sse.js";
import {
  StreamableHTTPClientTransport,
  StreamableHTTPError,
} from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import type { Transport } from "@modelcontextprotocol/sdk/shared/transport.js";
import { ErrorCode, McpError } from "@modelcontextprotocol/sdk/types.js";
import type { jsonSchemaValidator } from "@modelcontextprotocol/sdk/validation/types.js";

import type { ToolView } from "../../chat/types.ts";
import { describe } from "../../errors.ts";
import { faultsOf } from "../json-check.ts";
import type { OutsideFetch } from "../outside-door.ts";
import type { ToolContext, ToolOutput } from "../types.ts";
import { type Content, outputOf } from "./content.ts";
import { McpProblem } from "./problem.ts";
import { MAX_PAGES, MAX_TOOLS, type McpServer, type McpTool, readTool } from "./server.ts";

/** A server that is there says hello within seconds; one that sleeps is woken in half a minute. */
const CONNECT_MILLISECONDS = 30_000;
/** Without a word; progress begins it anew. */
const SILENCE_MILLISECONDS = 60_000;
/** With progress: work that takes longer needs no person waiting. */
const CALL_MILLISECONDS = 600_000;
/** Of a server's own words in an error. */
const MAX_DETAIL_CHARACTERS = 300;
/** Of this client, as servers are told; no more than that it is one. */
const VERSION = "1";

export interface SessionEvents {
  /** It has other tools now. */
  onToolsChanged: () => void;
  onClosed: () => void;
}

export class McpSession {
  readonly #client: Client;

  private constructor(client: Client) {
    this.#client = client;
  }

  /** @throws McpProblem. */
  static async open(
    server: Pick<McpServer, "url" | "headers">,
    fetchOutside: OutsideFetch,
    events: SessionEvents,
    signal: AbortSignal,
  ): Promise<McpSession> {
    const url = new URL(server.url);
    const options = {
      requestInit: { headers: Object.fromEntries(server.headers) },
      fetch: fetchOutside,
    };
    const streamable = new StreamableHTTPClientTransport(url, options);
    try {
      return await start(streamable, events, signal);
    } catch (error) {
      if (!isOlder(error) || isGreeted(streamable)) {
        throw problemOf(error, streamable);
      }
      try {
        // Deprecated, as the servers are that speak nothing newer.
        // eslint-disable-next-line @typescript-eslint/no-deprecated
        return await start(new SSEClientTransport(url, options), events, signal);
      } catch {
        // What the newer way met says more.
        throw problemOf(error, streamable);
      }
    }

    async function start(
      transport: Transport,
      { onToolsChanged, onClosed }: SessionEvents,
      stop: AbortSignal,
    ): Promise<McpSession> {
      const client = new Client(
        { name: "transom", version: VERSION },
        {
          capabilities: {},
          jsonSchemaValidator: VALIDATOR,
          listChanged: { tools: { autoRefresh: false, onChanged: onToolsChanged } },
        },
      );
      try {
        await client.connect(transport, { signal: stop, timeout: CONNECT_MILLISECONDS });
      } catch (error) {
        await client.close().catch(() => undefined);
        throw error;
      }
      client.onclose = onClosed;
      return new McpSession(client);
    }
  }

  /** All that can be used, at most `MAX_TOOLS`. @throws McpProblem. */
  async listTools(signal: AbortSignal): Promise<readonly McpTool[]> {
    if (this.#client.getServerCapabilities()?.tools === undefined) {
      return [];
    }
    const found = new Map<string, McpTool>();
    let cursor: string | undefined;
    for (let page = 0; page < MAX_PAGES && found.size < MAX_TOOLS; page += 1) {
      const { tools, nextCursor } = await this.#asking(
        this.#client.listTools(cursor === undefined ? {} : { cursor }, {
          signal,
          timeout: CONNECT_MILLISECONDS,
        }),
      );
      for (const tool of tools.map(readTool)) {
        if (tool !== null && found.size < MAX_TOOLS) {
          found.set(tool.name, tool);
        }
      }
      // An empty one is the end to servers that cannot say so otherwise; the same one again is a circle.
      if (nextCursor === undefined || nextCursor === "" || nextCursor === cursor) {
        break;
      }
      cursor = nextCursor;
    }
    return [...found.values()];
  }

  /** @throws McpProblem. */
  async call(name: string, input: unknown, { signal, onView }: ToolContext): Promise<ToolOutput> {
    const result = await this.#asking(
      this.#client.callTool(
        { name, arguments: (input ?? {}) as Record<string, unknown> },
        undefined,
        {
          signal,
          timeout: SILENCE_MILLISECONDS,
          maxTotalTimeout: CALL_MILLISECONDS,
          resetTimeoutOnProgress: true,
          onprogress: (progress) => {
            onView(progressView(progress));
          },
        },
      ),
    );
    return outputOf(result as Content);
  }

  /** The server is told, if it listens. */
  async close(): Promise<void> {
    const { transport } = this.#client;
    this.#client.onclose = () => undefined;
    if (transport instanceof StreamableHTTPClientTransport) {
      await transport.terminateSession().catch(() => undefined);
    }
    await this.#client.close();
  }

  async #asking<T>(asked: Promise<T>): Promise<T> {
    try {
      return await asked;
    } catch (error) {
      throw problemOf(error, this.#client.transport);
    }
  }
}

/** What the SDK asks of a validator; ajv would make code. */
const VALIDATOR: jsonSchemaValidator = {
  getValidator:
    // eslint-disable-next-line @typescript-eslint/no-unnecessary-type-parameters -- the SDK asks so
    <T>(schema: unknown) =>
      (input: unknown) => {
        const faults = faultsOf(schema as Record<string, unknown>, input);
        return faults.length === 0
          ? { valid: true, data: input as T, errorMessage: undefined }
          : { valid: false, data: undefined, errorMessage: faults.join("; ") };
      },
};

function progressView(progress: {
  progress: number;
  total?: number | undefined;
  message?: string | undefined;
}): ToolView {
  const { progress: done, total, message } = progress;
  const figures = total === undefined ? String(done) : `${done} / ${total}`;
  return { kind: "text", text: message === undefined ? figures : `${figures} ${message}` };
}

/** The specification's sign of a server that knows the older way only. */
function isOlder(error: unknown): boolean {
  return error instanceof StreamableHTTPError && [400, 404, 405].includes(error.code ?? 0);
}

/** In a server's session there is nobody of that number any more, or it was never heard. */
export function isLostSession(error: unknown): boolean {
  return error instanceof McpProblem && error.cause instanceof StreamableHTTPError
    ? error.cause.code === 404
    : false;
}

/** Whether a server answered the first request. */
function isGreeted(transport: Transport | undefined): transport is StreamableHTTPClientTransport {
  return (
    transport instanceof StreamableHTTPClientTransport && transport.protocolVersion !== undefined
  );
}

function problemOf(error: unknown, transport: Transport | undefined): McpProblem {
  if (error instanceof McpProblem) {
    return error;
  }
  const options = { cause: error };
  const detail = describe(error).slice(0, MAX_DETAIL_CHARACTERS);
  if (error instanceof StreamableHTTPError) {
    const { code = 0 } = error;
    if (detail.includes("Redirect ")) {
      return new McpProblem("redirected", "", options);
    }
    if (code === 401) {
      return new McpProblem("unauthorized", "", options);
    }
    if (code === 403) {
      return new McpProblem("forbidden", "", options);
    }
    // It said hello, and then knew us no more: the number of the session was not to be read.
    const isHidden = isGreeted(transport) && transport.sessionId === undefined;
    if (code === 400 && isHidden) {
      return new McpProblem("hidden-session", "", options);
    }
    return new McpProblem("not-mcp", code > 0 ? `HTTP ${code}` : detail, options);
  }
  if (error instanceof McpError) {
    const kind = error.code === (ErrorCode.RequestTimeout as number) ? "timeout" : "refused";
    return new McpProblem(kind, kind === "timeout" ? "" : detail, options);
  }
  if (error instanceof TypeError) {
    return new McpProblem("unreachable", "", options);
  }
  if (error instanceof SyntaxError || (error instanceof Error && error.name === "ZodError")) {
    return new McpProblem("not-mcp", "", options);
  }
  return new McpProblem("failed", detail, options);
}
