/** What the chat can do besides talking: tools, and files as context. Put together, nothing more. */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { Database } from "../chat/database.ts";
import type { ApiClient } from "../client/api-client.ts";
import { listEmbedders } from "../client/embedders.ts";
import { contextOf } from "../documents/context.ts";
import { KeptFiles } from "../documents/kept-files.ts";
import { type Embedder, HybridRetrieval } from "../documents/retrieval.ts";
import { calculator } from "../tools/builtin/calculator.ts";
import { createClock } from "../tools/builtin/clock.ts";
import { createFetchPage } from "../tools/builtin/fetch-page.ts";
import { McpServers } from "../tools/mcp/servers.ts";
import { OutsideDoor } from "../tools/outside-door.ts";
import { PythonTool } from "../tools/python/python-tool.ts";
import { sandboxOpener } from "../tools/python/sandbox.ts";
import { Tools } from "../tools/tool-box.ts";

export interface AbilitiesOptions {
  database: Promise<Database>;
  client: ApiClient;
  fetch: (url: URL, init: RequestInit) => Promise<Response>;
  /** Where Pyodide is. */
  bundleUrl: () => string;
}

export type SearchNotice = { kind: "missing"; name: string } | { kind: "no-embedding" };

/** How the search in documents goes; null: none is on its way. */
export interface Searching {
  done: number;
  total: number;
}

export class Abilities {
  readonly #searching = signal<Searching | null>(null);
  readonly #notice = signal<SearchNotice | null>(null);

  readonly files: KeptFiles;
  readonly retrieval: HybridRetrieval;
  readonly mcp: McpServers;
  readonly tools: Tools;
  readonly python: PythonTool;
  readonly contextOf = contextOf;
  /** Passages that are being embedded. */
  readonly searching: ReadonlySignal<Searching | null> = this.#searching;
  /** What the last search could not do. */
  readonly notice: ReadonlySignal<SearchNotice | null> = this.#notice;

  constructor({ database, client, fetch, bundleUrl }: AbilitiesOptions) {
    this.files = new KeptFiles({
      file: async (sha256) => (await database).file(sha256),
      putFile: async (file) => (await database).putFile(file),
      passages: async (sha256, model) => (await database).passages(sha256, model),
      putPassages: async (row) => (await database).putPassages(row),
    });
    this.retrieval = new HybridRetrieval({
      textOf: (document) => this.files.textOf(document),
      embedder: async () => embedderOf(client, await listEmbedders(document.baseURI, fetch)),
      store: this.files,
      onProgress: (done, total) => {
        this.#searching.value = done < total ? { done, total } : null;
      },
      onMissing: ({ name }) => {
        this.#notice.value = { kind: "missing", name };
      },
      onEmbeddingFailed: () => {
        this.#searching.value = null;
        this.#notice.value = { kind: "no-embedding" };
      },
    });
    const outside = new OutsideDoor();
    this.mcp = new McpServers({
      store: {
        mcpServers: async () => (await database).mcpServers(),
        putMcpServer: async (server) => (await database).putMcpServer(server),
        deleteMcpServer: async (id) => (await database).deleteMcpServer(id),
      },
      fetchOutside: outside.fetch,
    });
    this.python = new PythonTool(sandboxOpener(bundleUrl));
    this.tools = new Tools({
      builtins: [calculator, createClock(), createFetchPage(outside.fetch), this.python],
      others: () => this.mcp.tools,
    });
    void this.mcp.open();
  }
}

function embedderOf(client: ApiClient, [model]: readonly string[]): Embedder | null {
  return model === undefined
    ? null
    : { model, embed: (texts, signal) => client.embed(model, texts, signal) };
}
