/** What opens beside the conversation: settings, prompt and parameters, tools. */
import { useEffect, useState } from "preact/hooks";

import { modelfileOf } from "../chat/modelfile-settings.ts";
import { keepApiKey, readApiKey } from "../client/api-key.ts";
import { newId } from "../chat/tree.ts";
import { PresetsPanel } from "./settings/presets-panel.tsx";
import { saveFile } from "./save-file.ts";
import { createModel, usePreset } from "./presets.ts";
import { wipeBrowser } from "./wipe.ts";
import { words } from "./i18n/words.ts";
import type { Parts } from "./parts.ts";
import { ParametersPanel } from "./settings/parameters-panel.tsx";
import { choose, preferences } from "./settings/preferences.ts";
import { SettingsDialog } from "./settings/settings-dialog.tsx";
import { ToolsPanel } from "./tools/tools-panel.tsx";
import { Dialog } from "./ui/dialog.tsx";

export type PanelName = "settings" | "options" | "presets" | "tools";

export interface PanelsProps {
  parts: Parts;
  open: PanelName | null;
  onOpen: (name: PanelName | null) => void;
}

export function Panels({ parts, open, onOpen }: PanelsProps) {
  const close = () => {
    onOpen(null);
  };
  switch (open) {
    case null:
      return null;
    case "settings":
      return <Settings parts={parts} onClose={close} />;
    case "options":
      return <Options parts={parts} onClose={close} />;
    case "presets":
      return <Presets parts={parts} onClose={close} />;
    case "tools":
      return <ToolsOf parts={parts} onClose={close} />;
  }
}

interface PanelProps {
  parts: Parts;
  onClose: () => void;
}

function Settings({ parts: { desk, kept }, onClose }: PanelProps) {
  const [apiKey, setApiKey] = useState(() => readApiKey());
  return (
    <SettingsDialog
      apiKey={apiKey}
      preferences={preferences.value}
      situation={desk.situation()}
      host={location.host}
      version={__VERSION__}
      actions={{
        choose: (change) => {
          void choose(change);
        },
        keepApiKey: (key) => {
          keepApiKey(key);
          setApiKey(readApiKey());
        },
        want: (wanted) => {
          desk.want(wanted);
        },
        deleteEverything: () => wipeBrowser(kept),
      }}
      onClose={onClose}
    />
  );
}

function Options({ parts: { chat, knowledge }, onClose }: PanelProps) {
  const { system, parameters, overflow } = chat.conversation.value;
  return (
    <ParametersPanel
      system={system}
      parameters={parameters}
      overflow={overflow}
      own={knowledge.value.own}
      actions={{
        setSystem: (changed) => {
          chat.change({ system: changed });
        },
        setParameters: (changed) => {
          chat.change({ parameters: changed });
        },
        setOverflow: (changed) => {
          chat.change({ overflow: changed });
        },
      }}
      onClose={onClose}
    />
  );
}

function Presets({ parts, onClose }: PanelProps) {
  const { desk, chat, kept } = parts;
  const { model, preset, system, parameters } = chat.conversation.value;
  const asked = desk.opened.value?.name ?? model;
  const { cards } = parts.models().state;
  useEffect(() => {
    void parts.models().actions.refresh();
  }, [parts]);
  return (
    <PresetsPanel
      presets={kept.presets.value}
      current={preset}
      ofChat={asked === null ? null : spelled({ model: asked, system, parameters, messages: [] })}
      models={(cards.value ?? []).map(({ name }) => name)}
      actions={{
        keep: ({ id, name, modelfile }) => {
          const kind = { id: id ?? newId(), name, modelfile, updatedAt: Date.now() };
          void kept.database.then((database) => database.putPreset(kind));
        },
        remove: (id) => {
          void kept.database.then((database) => database.deletePreset(id));
        },
        use: ({ id }, settings) => {
          usePreset(parts, id, settings);
          if (settings.leftOut.length === 0) {
            onClose();
          }
        },
        download: (name, text) => {
          saveFile(name, new Blob([text], { type: "text/plain" }));
        },
        saveAsModel: desk.place.value.hasServer
          ? (request, onStatus) => createModel(desk.fetch, request, onStatus)
          : null,
      }}
      onClose={onClose}
    />
  );
}

/** Null: the system prompt has no spelling in a Modelfile. */
function spelled(settings: Parameters<typeof modelfileOf>[0]): string | null {
  try {
    return modelfileOf(settings);
  } catch {
    return null;
  }
}

function ToolsOf({ parts: { chat, abilities, knowledge }, onClose }: PanelProps) {
  const { mcp, tools } = abilities;
  return (
    <Dialog title={words.value.composer.tools} form="side" onClose={onClose}>
      <ToolsPanel
        tools={tools.tools}
        chosen={chat.conversation.value.tools}
        servers={mcp.states.value}
        canCall={knowledge.value.canCallTools}
        actions={{
          setTools: (names) => {
            chat.change({ tools: names });
          },
          addServer: (fields) => mcp.add(fields),
          editServer: (id, fields) => mcp.edit(id, fields),
          removeServer: (id) => mcp.remove(id),
          connectServer: (id) => mcp.connect(id),
        }}
      />
    </Dialog>
  );
}
