/** Which tools a conversation has, and the MCP servers of this browser. */
import "./tools.css";
import { useId, useState } from "preact/hooks";

import type { ServerFields } from "../../tools/mcp/server.ts";
import type { ServerState } from "../../tools/mcp/servers.ts";
import type { Tool } from "../../tools/types.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { ServerCard } from "./server-card.tsx";
import { ServerForm } from "./server-form.tsx";
import { ToolSwitch } from "./tool-switch.tsx";

export interface ToolsActions {
  /** Names of the tools that are on in this conversation from now on. */
  setTools: (names: readonly string[]) => void;
  /** @throws InvalidField. */
  addServer: (fields: ServerFields) => Promise<unknown>;
  /** @throws InvalidField. */
  editServer: (id: string, fields: ServerFields) => Promise<void>;
  removeServer: (id: string) => Promise<void>;
  /** Ask it for its tools, anew. */
  connectServer: (id: string) => Promise<void>;
}

export interface ToolsPanelProps {
  /** All there are, by the names that the model is told. */
  tools: readonly Tool[];
  chosen: readonly string[];
  servers: readonly ServerState[];
  /** Whether the model that is open was taught to call tools; null: nobody knows. */
  canCall?: boolean | null;
  actions: ToolsActions;
}

export function ToolsPanel({ tools, chosen, servers, canCall = null, actions }: ToolsPanelProps) {
  const { panel } = words.value.tools;
  const [isAdding, setAdding] = useState(false);
  const id = useId();
  const on = new Set(chosen);
  const known = tools.filter(({ name }) => on.has(name));
  const turn = (names: readonly string[], isOn: boolean) => {
    const others = chosen.filter((name) => !names.includes(name));
    actions.setTools(isOn ? [...others, ...names] : others);
  };
  return (
    <div class="tools-panel">
      <p class="tools-intro">{panel.intro}</p>
      {canCall === false && <p class="note is-notice">{panel.noTools}</p>}
      <section aria-labelledby={`${id}-builtins`}>
        <div class="tools-head">
          <h3 id={`${id}-builtins`}>{panel.builtins}</h3>
          <span class="chip" role="status">
            {panel.on(known.length)}
          </span>
        </div>
        <ul class="tools-list">
          {tools
            .filter(({ origin }) => origin === "builtin")
            .map((tool) => (
              <ToolSwitch key={tool.name} tool={tool} isOn={on.has(tool.name)} onTurn={turn} />
            ))}
        </ul>
      </section>
      <section aria-labelledby={`${id}-servers`}>
        <h3 id={`${id}-servers`}>{panel.servers}</h3>
        <p class="tools-intro">{panel.serversExplained}</p>
        {servers.length === 0 && !isAdding && <p class="quiet-text">{panel.noServers}</p>}
        {servers.map((state) => (
          <ServerCard
            key={state.server.id}
            state={state}
            tools={tools.filter(({ origin }) => origin === state.server.name)}
            on={on}
            onTurn={turn}
            actions={actions}
          />
        ))}
        {isAdding ? (
          <ServerForm
            onSave={async (fields) => {
              await actions.addServer(fields);
            }}
            onClose={() => {
              setAdding(false);
            }}
          />
        ) : (
          <button
            class="quiet"
            type="button"
            onClick={() => {
              setAdding(true);
            }}
          >
            <Icon name="plus" />
            {panel.addServer}
          </button>
        )}
      </section>
    </div>
  );
}
