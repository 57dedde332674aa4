/**
 * The MCP servers of this browser: kept, asked when there is something to ask, and their tools.
 *
 * No server is asked before the person says so: by adding it, by "connect", or by agreeing to a call.
 * What a server listed then is kept, so that a later visit knows its tools without asking.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import { TransomError } from "../../errors.ts";
import { isPrivate } from "../address.ts";
import type { OutsideFetch } from "../outside-door.ts";
import type { Tool, ToolContext, ToolOutput } from "../types.ts";
import { McpProblem } from "./problem.ts";
import {
  InvalidField,
  MAX_SERVERS,
  type McpServer,
  type McpTool,
  readFields,
  readKept,
  type ServerFields,
} from "./server.ts";
import type * as sessionModule from "./session.ts";
import type { McpSession } from "./session.ts";

/** What of the database is used (`chat/database.ts`). */
export interface ServerStore {
  mcpServers(): Promise<readonly { id: string }[]>;
  putMcpServer(server: { id: string }): Promise<void>;
  deleteMcpServer(id: string): Promise<void>;
}

/** A server and how it is with it, for people. */
export interface ServerState {
  server: McpServer;
  link: "idle" | "connecting" | "connected" | "failed";
  problem: McpProblem | null;
}

type SessionModule = typeof sessionModule;

export interface McpServersOptions {
  store: ServerStore;
  fetchOutside: OutsideFetch;
  /** For tests. */
  loadSession?: () => Promise<Pick<SessionModule, "isLostSession" | "McpSession">>;
}

export class McpServers {
  readonly #states = signal<readonly ServerState[]>([]);
  readonly #store: ServerStore;
  readonly #fetchOutside: OutsideFetch;
  readonly #load: NonNullable<McpServersOptions["loadSession"]>;
  readonly #sessions = new Map<string, Promise<McpSession>>();

  constructor({
    store,
    fetchOutside,
    loadSession = () => import("./session.ts"),
  }: McpServersOptions) {
    this.#store = store;
    this.#fetchOutside = fetchOutside;
    this.#load = loadSession;
  }

  get states(): ReadonlySignal<readonly ServerState[]> {
    return this.#states;
  }

  /** Tools of all servers, by the servers' own names for them. */
  get tools(): readonly Tool[] {
    return this.#states.value.flatMap(({ server }) =>
      server.tools.map((tool) => this.#toolOf(server, tool)),
    );
  }

  /** What is kept, without asking anybody; again when another tab changed it. */
  async open(): Promise<void> {
    const kept = await this.#store.mcpServers();
    const known = new Map(this.#states.value.map((state) => [state.server.id, state]));
    this.#states.value = kept
      .map(readKept)
      .filter((server) => server !== null)
      .slice(0, MAX_SERVERS)
      .map((server) => ({ link: "idle", problem: null, ...known.get(server.id), server }));
  }

  /**
   * Add a server and ask it for its tools. It stays, even if it does not answer now.
   *
   * @throws InvalidField.
   */
  async add(fields: ServerFields): Promise<string> {
    const read = readFields(fields);
    if (this.#states.value.length >= MAX_SERVERS) {
      throw new InvalidField("url", "too-many-servers");
    }
    const server: McpServer = {
      id: crypto.randomUUID(),
      ...read,
      name: this.#freeName(read.name, ""),
      tools: [],
      listedAt: null,
    };
    this.#states.value = [...this.#states.value, { server, link: "idle", problem: null }];
    await this.#store.putMcpServer(server);
    await this.connect(server.id);
    return server.id;
  }

  /** @throws InvalidField. */
  async edit(id: string, fields: ServerFields): Promise<void> {
    const read = readFields(fields);
    const { server } = this.#state(id);
    const isElsewhere = read.url !== server.url;
    await this.#end(id);
    const changed: McpServer = {
      ...server,
      ...read,
      name: this.#freeName(read.name, id),
      ...(isElsewhere ? { tools: [], listedAt: null } : {}),
    };
    await this.#keep(changed);
    await this.connect(id);
  }

  async remove(id: string): Promise<void> {
    this.#states.value = this.#states.value.filter(({ server }) => server.id !== id);
    await this.#store.deleteMcpServer(id);
    await this.#end(id);
  }

  /** Ask a server for its tools, anew. Never rejects: `states` says how it went. */
  async connect(id: string): Promise<void> {
    await this.#end(id);
    try {
      await this.#session(id);
    } catch {
      // Told in its state.
    }
  }

  /** Let go of all servers. */
  async close(): Promise<void> {
    await Promise.all([...this.#sessions.keys()].map((id) => this.#end(id)));
  }

  #toolOf(server: McpServer, { name, title, description, parameters }: McpTool): Tool {
    const { hostname, href } = new URL(server.url);
    return {
      name,
      title,
      description,
      parameters,
      approval: "ask",
      origin: server.name,
      // Its session has limits of its own, which progress prolongs.
      limitSeconds: null,
      preview: () => ({
        address: href,
        warnings: isPrivate(hostname) ? ["private-address"] : [],
      }),
      run: (input, context) => this.#call(server.id, name, input, context),
    };
  }

  async #call(id: string, name: string, input: unknown, context: ToolContext): Promise<ToolOutput> {
    const { isLostSession } = await this.#load();
    for (let attempt = 1; ; attempt += 1) {
      const session = await abortable(this.#session(id), context.signal);
      try {
        return await session.call(name, input, context);
      } catch (error) {
        // Nothing has run: the server forgot the session, after a restart for example.
        if (attempt > 1 || !isLostSession(error)) {
          throw error;
        }
        await this.#end(id);
      }
    }
  }

  /** The session that there is, or a new one, with the list of tools kept. */
  #session(id: string): Promise<McpSession> {
    const known = this.#sessions.get(id);
    if (known !== undefined) {
      return known;
    }
    const opening = this.#open(id, () => this.#sessions.get(id) === opening);
    this.#sessions.set(id, opening);
    return opening;
  }

  async #open(id: string, isWanted: () => boolean): Promise<McpSession> {
    this.#note(id, { link: "connecting", problem: null });
    try {
      const { McpSession: Session } = await this.#load();
      const { server } = this.#state(id);
      const { signal: never } = new AbortController();
      const session: McpSession = await Session.open(
        server,
        this.#fetchOutside,
        {
          onToolsChanged: () => void this.#list(id, session).catch(() => undefined),
          onClosed: () => {
            if (isWanted()) {
              this.#sessions.delete(id);
              this.#note(id, { link: "idle" });
            }
          },
        },
        never,
      );
      await this.#list(id, session);
      if (isWanted()) {
        this.#note(id, { link: "connected" });
      }
      return session;
    } catch (error) {
      if (isWanted()) {
        this.#sessions.delete(id);
        const problem =
          error instanceof McpProblem ? error : new McpProblem("failed", "", { cause: error });
        this.#note(id, { link: "failed", problem });
      }
      throw error;
    }
  }

  async #list(id: string, session: McpSession): Promise<void> {
    const tools = await session.listTools(new AbortController().signal);
    const state = this.#states.value.find(({ server }) => server.id === id);
    if (state !== undefined) {
      await this.#keep({ ...state.server, tools, listedAt: Date.now() });
    }
  }

  async #end(id: string): Promise<void> {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    this.#note(id, { link: "idle", problem: null });
    // Not waited for: a server that is gone does not say good-bye.
    void session?.then((open) => open.close()).catch(() => undefined);
    return Promise.resolve();
  }

  async #keep(server: McpServer): Promise<void> {
    this.#note(server.id, { server });
    await this.#store.putMcpServer(server);
  }

  #state(id: string): ServerState {
    const state = this.#states.value.find(({ server }) => server.id === id);
    if (state === undefined) {
      throw new TransomError("invalid-request", "That server was removed.");
    }
    return state;
  }

  #note(id: string, change: Partial<ServerState>): void {
    this.#states.value = this.#states.value.map((state) =>
      state.server.id === id ? { ...state, ...change } : state,
    );
  }

  /** Names tell tools apart. */
  #freeName(wanted: string, own: string): string {
    const taken = new Set(
      this.#states.value.filter(({ server }) => server.id !== own).map(({ server }) => server.name),
    );
    let name = wanted;
    for (let i = 2; taken.has(name); i += 1) {
      name = `${wanted} ${i}`;
    }
    return name;
  }
}

/** Stops waiting; others may still wait for the same. */
function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    signal.addEventListener(
      "abort",
      () => {
        reject(new DOMException("Stopped.", "AbortError"));
      },
      { once: true },
    );
    promise.then(resolve, reject);
  });
}
