/** The presets of this browser: to use, to change, to take along, and to make models of. */
import type { Id, Preset } from "../../chat/types.ts";
import { MAX_MODELFILE_CHARACTERS } from "../../chat/modelfile-grammar.ts";
import { type PresetSettings, settingsOf } from "../../chat/modelfile-settings.ts";
import { parseModelfile } from "../../chat/modelfile.ts";
import { formatBytes } from "../format.ts";
import { words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { Menu } from "../ui/menu.tsx";
import { useState } from "preact/hooks";
import { PresetEditor } from "./preset-editor.tsx";
import { SaveAsModel, type SaveAsModelAction } from "./save-as-model.tsx";
import "./settings.css";

/** Bytes of a file that is looked at: four for each character of the longest Modelfile. */
const MAX_FILE_BYTES = 4 * MAX_MODELFILE_CHARACTERS;

export interface PresetsPanelProps {
  presets: readonly Preset[];
  /** Which one the open chat began with; null: none. */
  current: Id | null;
  /** The Modelfile of what the open chat is set to (`modelfileOf`); null: nothing to make one of. */
  ofChat: string | null;
  /** To choose from, as the API calls them. */
  models: readonly string[];
  actions: {
    /** Keeps a new or changed one; `id` null: a new one. */
    keep: (preset: Pick<Preset, "name" | "modelfile"> & { id: Id | null }) => void;
    remove: (id: Id) => void;
    /** The open chat takes over what it says. */
    use: (preset: Preset, settings: PresetSettings) => void;
    /** Gives the person a file. */
    download: (name: string, text: string) => void;
    /** null: there is no server that could. */
    saveAsModel: SaveAsModelAction | null;
  };
  onClose: () => void;
}

type View =
  | { kind: "list" }
  | { kind: "edit"; preset: Pick<Preset, "name" | "modelfile"> & { id: Id | null } }
  | { kind: "save"; preset: Preset };

export function PresetsPanel(props: PresetsPanelProps) {
  const { models, actions, onClose } = props;
  const { presets: said } = words.value;
  const [view, setView] = useState<View>({ kind: "list" });
  const [note, setNote] = useState<{ text: string; isBad: boolean } | null>(null);
  const back = () => {
    setView({ kind: "list" });
  };
  if (view.kind === "edit") {
    return (
      <Dialog title={said.editTitle(view.preset.name)} onClose={back} form="side">
        <PresetEditor
          preset={view.preset}
          models={models}
          onSave={(changed) => {
            actions.keep({ ...changed, id: view.preset.id });
            setNote({ text: said.saved, isBad: false });
            back();
          }}
          onCancel={back}
        />
      </Dialog>
    );
  }
  if (view.kind === "save") {
    return (
      <Dialog title={said.saveTitle} onClose={back}>
        <SaveAsModel preset={view.preset} save={actions.saveAsModel} onClose={back} />
      </Dialog>
    );
  }
  return (
    <Dialog title={said.title} onClose={onClose} form="side">
      <div class="stack">
        <p class="lead">{said.lead}</p>
        <NewPresets
          {...props}
          onEdit={(preset) => {
            setNote(null);
            setView({ kind: "edit", preset });
          }}
          onProblem={(text) => {
            setNote({ text, isBad: true });
          }}
        />
        {note !== null && (
          <p class={note.isBad ? "note is-warning" : "note is-good"} role="status">
            {note.text}
          </p>
        )}
        {props.presets.length === 0 ? (
          <p class="field-hint">{said.none}</p>
        ) : (
          <ul class="preset-list" aria-label={said.list}>
            {props.presets.map((preset) => (
              <PresetRow
                key={preset.id}
                {...props}
                preset={preset}
                onView={setView}
                onUsed={(text) => {
                  setNote({ text, isBad: false });
                }}
              />
            ))}
          </ul>
        )}
      </div>
    </Dialog>
  );
}

interface NewPresetsProps extends PresetsPanelProps {
  onEdit: (preset: Pick<Preset, "name" | "modelfile"> & { id: null }) => void;
  onProblem: (text: string) => void;
}

function NewPresets({ ofChat, models, onEdit, onProblem }: NewPresetsProps) {
  const { presets: said } = words.value;
  const read = async (file: File) => {
    if (file.size > MAX_FILE_BYTES) {
      onProblem(said.tooLarge(formatBytes(MAX_FILE_BYTES)));
      return;
    }
    // What is wrong in it is shown where it can be put right.
    const name = file.name.replace(/\.(modelfile|txt)$/i, "");
    onEdit({ id: null, name, modelfile: decodeText(await file.arrayBuffer()) });
  };
  return (
    <div class="buttons">
      <button
        class="primary"
        type="button"
        onClick={() => {
          onEdit({ id: null, name: said.untitled, modelfile: `FROM ${models[0] ?? "model"}\n` });
        }}
      >
        <Icon name="plus" />
        {said.create}
      </button>
      {ofChat !== null && (
        <button
          class="quiet"
          type="button"
          onClick={() => {
            onEdit({ id: null, name: said.untitled, modelfile: ofChat });
          }}
        >
          {said.fromChat}
        </button>
      )}
      <label class="quiet file-button">
        <Icon name="upload" />
        {said.importFile}
        <input
          class="hidden"
          type="file"
          onChange={(event) => {
            const [file] = event.currentTarget.files ?? [];
            event.currentTarget.value = "";
            if (file !== undefined) {
              void read(file);
            }
          }}
        />
      </label>
    </div>
  );
}

interface PresetRowProps extends PresetsPanelProps {
  preset: Preset;
  onView: (view: View) => void;
  onUsed: (text: string) => void;
}

function PresetRow({ preset, current, actions, onView, onUsed }: PresetRowProps) {
  const { presets: said } = words.value;
  const settings = settingsOrNull(preset.modelfile);
  const isCurrent = preset.id === current;
  return (
    <li class={isCurrent ? "card preset is-current" : "card preset"}>
      <div class="preset-text">
        <strong>
          <bdi>{preset.name}</bdi>
        </strong>
        <span class="field-hint">
          {settings === null ? said.broken : said.of(settings.model)}
          {isCurrent && <Icon name="check" />}
        </span>
        {settings !== null && settings.system !== "" && (
          <span class="preset-system" dir="auto">
            {settings.system}
          </span>
        )}
      </div>
      <div class="buttons">
        <button
          class="quiet"
          type="button"
          disabled={settings === null}
          onClick={() => {
            if (settings !== null) {
              actions.use(preset, settings);
              const { leftOut } = settings;
              const more = leftOut.length === 0 ? "" : ` ${said.leftOut(leftOut.join(", "))}`;
              onUsed(said.used(preset.name) + more);
            }
          }}
        >
          {said.use}
        </button>
        <button
          class="icon-button"
          type="button"
          aria-label={`${said.edit}: ${preset.name}`}
          title={said.edit}
          onClick={() => {
            onView({ kind: "edit", preset });
          }}
        >
          <Icon name="edit" />
        </button>
        <PresetMenu preset={preset} actions={actions} onView={onView} />
      </div>
    </li>
  );
}

function PresetMenu({
  preset,
  actions,
  onView,
}: Pick<PresetRowProps, "preset" | "actions" | "onView">) {
  const { presets: said } = words.value;
  const [isAsking, setAsking] = useState(false);
  if (isAsking) {
    return (
      <span class="buttons" role="alert">
        <span>{said.deleteSure(preset.name)}</span>
        <button
          class="primary is-danger"
          type="button"
          onClick={() => {
            actions.remove(preset.id);
          }}
        >
          {said.deleteYes}
        </button>
        <button
          class="quiet"
          type="button"
          onClick={() => {
            setAsking(false);
          }}
        >
          {said.deleteNo}
        </button>
      </span>
    );
  }
  return (
    <Menu
      label={said.more(preset.name)}
      items={[
        {
          label: said.duplicate,
          icon: "copy",
          onChoose: () => {
            const { modelfile } = preset;
            actions.keep({ id: null, name: said.copyOf(preset.name), modelfile });
          },
        },
        {
          label: said.export,
          icon: "download",
          onChoose: () => {
            actions.download(`${fileName(preset.name)}.Modelfile`, preset.modelfile);
          },
        },
        {
          label: said.saveAsModel,
          icon: "model",
          onChoose: () => {
            onView({ kind: "save", preset });
          },
        },
        {
          label: said.delete,
          icon: "trash",
          isDanger: true,
          onChoose: () => {
            setAsking(true);
          },
        },
      ]}
    />
  );
}

function settingsOrNull(modelfile: string): PresetSettings | null {
  try {
    return settingsOf(parseModelfile(modelfile));
  } catch {
    return null;
  }
}

/** What no file system takes, and what hides a file, becomes a hyphen. */
function fileName(name: string): string {
  return (
    name
      .replace(/^\.+|[\p{C}\\/:*?"<>|]+/gu, "-")
      .slice(0, 80)
      .trim() || "preset"
  );
}

/** UTF-8, or UTF-16 where a byte order mark says so; what is neither shows as such in the editor. */
function decodeText(bytes: ArrayBuffer): string {
  const [first, second] = new Uint8Array(bytes, 0, Math.min(2, bytes.byteLength));
  const label =
    first === 0xff && second === 0xfe
      ? "utf-16le"
      : first === 0xfe && second === 0xff
        ? "utf-16be"
        : "utf-8";
  return new TextDecoder(label).decode(bytes);
}
