/** One tool: what it is, and whether it is on. */
import type { Tool } from "../../tools/types.ts";
import { words } from "../i18n/words.ts";
import { Switch } from "../ui/switch.tsx";
import { titleOf } from "./call-text.ts";

export interface ToolSwitchProps {
  tool: Tool;
  isOn: boolean;
  onTurn: (names: readonly string[], isOn: boolean) => void;
}

export function ToolSwitch({ tool, isOn, onTurn }: ToolSwitchProps) {
  const { tools } = words.value;
  const isBuiltin = tool.origin === "builtin";
  const explained = isBuiltin ? tools.explained[tool.name] : undefined;
  return (
    <li class="tool-switch">
      <Switch
        label={
          <>
            <bdi>{titleOf(tool.name, tool, tools)}</bdi>
            {isBuiltin && tool.approval === "ask" && (
              <>
                {" "}
                <span class="chip">{tools.panel.asksFirst}</span>
              </>
            )}
          </>
        }
        hint={explained ?? tool.description}
        isOn={isOn}
        onChange={(turnedOn) => {
          onTurn([tool.name], turnedOn);
        }}
      />
    </li>
  );
}
