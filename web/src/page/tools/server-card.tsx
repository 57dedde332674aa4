/** One MCP server: how it is with it, its tools, and what can be done. What it says of itself is shown as text. */
import { useId, useState } from "preact/hooks";

import { fieldsOf } from "../../tools/mcp/server.ts";
import type { ServerState } from "../../tools/mcp/servers.ts";
import type { Tool } from "../../tools/types.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Switch } from "../ui/switch.tsx";
import { ServerForm } from "./server-form.tsx";
import { ToolSwitch } from "./tool-switch.tsx";
import type { ToolsActions } from "./tools-panel.tsx";

export interface ServerCardProps {
  state: ServerState;
  /** Its tools, by the names that the model is told. */
  tools: readonly Tool[];
  on: ReadonlySet<string>;
  onTurn: (names: readonly string[], isOn: boolean) => void;
  actions: ToolsActions;
}

export function ServerCard({ state, tools, on, onTurn, actions }: ServerCardProps) {
  const { panel } = words.value.tools;
  const { server, link, problem } = state;
  const [mode, setMode] = useState<"view" | "edit" | "remove">("view");
  const id = useId();
  if (mode === "edit") {
    return (
      <ServerForm
        fields={fieldsOf(server)}
        onSave={(fields) => actions.editServer(server.id, fields)}
        onClose={() => {
          setMode("view");
        }}
      />
    );
  }
  const names = tools.map(({ name }) => name);
  const areAllOn = names.length > 0 && names.every((name) => on.has(name));
  return (
    <article class="card server" aria-labelledby={`${id}-name`}>
      <header class="server-head">
        <Icon name="server" />
        <div class="server-words">
          <h4 id={`${id}-name`}>
            <bdi>{server.name}</bdi>
          </h4>
          <p class="server-url" dir="ltr">
            {server.url}
          </p>
        </div>
        <span class={`chip server-link is-${link}`} role="status">
          {panel.link[link]}
        </span>
      </header>
      {problem !== null && (
        <div class="note is-warning" role="alert">
          {panel.problems[problem.kind]}
          {problem.detail !== "" && (
            <p class="server-said" dir="auto">
              {panel.said(problem.detail)}
            </p>
          )}
        </div>
      )}
      {names.length > 0 ? (
        <details class="server-tools">
          <summary>
            <span>
              {panel.serverTools(names.length)}
              {" · "}
              {panel.on(names.filter((name) => on.has(name)).length)}
            </span>
            <span class="call-arrow">
              <Icon name="down" />
            </span>
          </summary>
          <ul class="tools-list">
            {names.length > 1 && (
              <li class="tool-switch">
                <Switch
                  label={panel.allOf(server.name)}
                  isOn={areAllOn}
                  onChange={(isOn) => {
                    onTurn(names, isOn);
                  }}
                />
              </li>
            )}
            {tools.map((tool) => (
              <ToolSwitch key={tool.name} tool={tool} isOn={on.has(tool.name)} onTurn={onTurn} />
            ))}
          </ul>
        </details>
      ) : (
        link !== "connecting" && (
          <p class="quiet-text">
            {server.listedAt === null ? panel.notListed : panel.noServerTools}
          </p>
        )
      )}
      {mode === "remove" ? (
        <div class="server-remove" role="group" aria-labelledby={`${id}-remove`}>
          <p id={`${id}-remove`}>{panel.removeQuestion(server.name)}</p>
          <div class="buttons">
            <button
              class="primary is-danger"
              type="button"
              onClick={() => {
                void actions.removeServer(server.id);
              }}
            >
              {panel.remove}
            </button>
            <button
              class="quiet"
              type="button"
              ref={focused}
              onClick={() => {
                setMode("view");
              }}
            >
              {panel.keep}
            </button>
          </div>
        </div>
      ) : (
        <div class="buttons">
          <button
            class="quiet"
            type="button"
            disabled={link === "connecting"}
            onClick={() => {
              void actions.connectServer(server.id);
            }}
          >
            <Icon name="retry" />
            {link === "connected" ? panel.refresh : panel.connect}
          </button>
          <button
            class="quiet"
            type="button"
            onClick={() => {
              setMode("edit");
            }}
          >
            <Icon name="edit" />
            {panel.edit}
          </button>
          <button
            class="quiet"
            type="button"
            onClick={() => {
              setMode("remove");
            }}
          >
            <Icon name="trash" />
            {panel.remove}
          </button>
        </div>
      )}
    </article>
  );
}

function focused(element: HTMLElement | null): void {
  element?.focus();
}
