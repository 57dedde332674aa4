/** One preset, as a form or as its Modelfile: two views of the same text. */
import { useId, useState } from "preact/hooks";

import { withBase, withMessages, withParameter, withSystem } from "../../chat/modelfile-edit.ts";
import { ModelfileError } from "../../chat/modelfile-grammar.ts";
import { isChatNumber, settingsOf } from "../../chat/modelfile-settings.ts";
import { type Modelfile, ROLES, type SeedMessage, parseModelfile } from "../../chat/modelfile.ts";
import type { ChatParameters, Preset } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Tabs } from "../ui/tabs.tsx";
import { ParameterFields } from "./parameters-panel.tsx";
import "./settings.css";

/** A name in a list; longer ones are texts. */
const MAX_NAME_CHARACTERS = 120;

type Written = Pick<Preset, "name" | "modelfile">;

export interface PresetEditorProps {
  preset: Written;
  /** To choose from, as the API calls them. */
  models: readonly string[];
  onSave: (preset: Written) => void;
  onCancel: () => void;
}

export function PresetEditor({ preset, models, onSave, onCancel }: PresetEditorProps) {
  const { presets: said } = words.value;
  const id = useId();
  const [view, setView] = useState<"form" | "text">("form");
  const [name, setName] = useState(preset.name);
  const [text, setText] = useState(preset.modelfile);
  const [isLeaving, setLeaving] = useState(false);
  /** What the form could not write. */
  const [refusal, setRefusal] = useState<string | null>(null);
  const read = readText(text);
  const isChanged = name !== preset.name || text !== preset.modelfile;
  const change = (write: (before: string) => string) => {
    try {
      setText(write(text));
      setRefusal(null);
    } catch (error) {
      setRefusal(error instanceof ModelfileError ? error.reason : String(error));
    }
  };
  const problem = read instanceof ModelfileError ? describeError(read) : refusal;
  return (
    <form
      class="stack"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        if (name.trim() !== "" && problem === null) {
          onSave({ name: name.trim(), modelfile: text });
        }
      }}
    >
      <div class="field">
        <label for={`${id}-name`}>{said.name}</label>
        <input
          id={`${id}-name`}
          value={name}
          maxLength={MAX_NAME_CHARACTERS}
          dir="auto"
          required
          aria-invalid={name.trim() === ""}
          aria-describedby={`${id}-name-error`}
          onInput={(event) => {
            setName(event.currentTarget.value);
          }}
        />
        <p class="field-error" id={`${id}-name-error`}>
          {name.trim() === "" ? said.nameMissing : ""}
        </p>
      </div>
      <Tabs
        label={said.views.label}
        view={view}
        views={[
          ["form", said.views.form],
          ["text", said.views.text],
        ]}
        onView={setView}
      >
        {view === "text" ? (
          <div class="field">
            <label for={`${id}-text`}>{said.text}</label>
            <textarea
              id={`${id}-text`}
              class="modelfile"
              rows={14}
              dir="ltr"
              spellcheck={false}
              autocapitalize="off"
              value={text}
              aria-invalid={read instanceof ModelfileError}
              aria-describedby={`${id}-hint ${id}-problem`}
              onInput={(event) => {
                setText(event.currentTarget.value);
                setRefusal(null);
              }}
            />
            <p class="field-hint" id={`${id}-hint`}>
              {said.textHint}
            </p>
          </div>
        ) : read instanceof ModelfileError ? (
          <p class="note is-notice">{said.formWaits}</p>
        ) : (
          <PresetForm modelfile={read} models={models} onChange={change} />
        )}
      </Tabs>
      <p class={problem === null ? "" : "note is-warning"} id={`${id}-problem`} role="status">
        {problem}
      </p>
      <div class="buttons is-end sticky-end">
        {isLeaving ? (
          <>
            <span role="alert">{said.discardSure}</span>
            <button class="quiet is-danger" type="button" onClick={onCancel}>
              {said.discardYes}
            </button>
            <button
              class="quiet"
              type="button"
              onClick={() => {
                setLeaving(false);
              }}
            >
              {said.discardNo}
            </button>
          </>
        ) : (
          <>
            <button
              class="quiet"
              type="button"
              onClick={() => {
                if (isChanged) {
                  setLeaving(true);
                } else {
                  onCancel();
                }
              }}
            >
              {said.cancel}
            </button>
            <button class="primary" type="submit" disabled={problem !== null || name.trim() === ""}>
              {said.save}
            </button>
          </>
        )}
      </div>
    </form>
  );
}

interface PresetFormProps {
  modelfile: Modelfile;
  models: readonly string[];
  /** Gives what writes the change into the text. */
  onChange: (write: (text: string) => string) => void;
}

function PresetForm({ modelfile, models, onChange }: PresetFormProps) {
  const { presets: said } = words.value;
  const id = useId();
  const { model, system, parameters, messages } = settingsOf(modelfile);
  return (
    <div class="stack">
      <div class="field">
        <label for={`${id}-model`}>{said.model}</label>
        <input
          id={`${id}-model`}
          value={model}
          list={`${id}-models`}
          dir="ltr"
          spellcheck={false}
          autocapitalize="off"
          aria-describedby={`${id}-model-hint`}
          onChange={(event) => {
            const base = event.currentTarget.value.trim();
            if (base === "") {
              event.currentTarget.value = model;
            } else {
              onChange((text) => withBase(text, base));
            }
          }}
        />
        <datalist id={`${id}-models`}>
          {models.map((each) => (
            <option key={each} value={each} />
          ))}
        </datalist>
        <p class="field-hint" id={`${id}-model-hint`}>
          {said.modelHint}
        </p>
      </div>
      <div class="field">
        <label for={`${id}-system`}>{said.system}</label>
        <textarea
          id={`${id}-system`}
          rows={5}
          dir="auto"
          value={system}
          aria-describedby={`${id}-system-hint`}
          onInput={(event) => {
            const { value } = event.currentTarget;
            onChange((text) => withSystem(text, value));
          }}
        />
        <p class="field-hint" id={`${id}-system-hint`}>
          {said.systemHint}
        </p>
      </div>
      <Messages
        messages={messages}
        onChange={(changed) => {
          onChange((text) => withMessages(text, changed));
        }}
      />
      <details>
        <summary>{said.parameters}</summary>
        <ParameterFields
          parameters={parameters}
          own={null}
          onChange={(changed) => {
            onChange((text) => withParameters(text, parameters, changed));
          }}
        />
      </details>
    </div>
  );
}

interface MessagesProps {
  messages: readonly SeedMessage[];
  onChange: (messages: readonly SeedMessage[]) => void;
}

function Messages({ messages, onChange }: MessagesProps) {
  const { presets: said } = words.value;
  const put = (at: number, changed: Partial<SeedMessage>) => {
    onChange(messages.map((each, row) => (row === at ? { ...each, ...changed } : each)));
  };
  return (
    <fieldset class="group">
      <legend>{said.messages}</legend>
      <p class="field-hint">{said.messagesHint}</p>
      {messages.map(({ role, content }, at) => (
        <div key={at} class="seed field">
          <select
            aria-label={said.role(at + 1)}
            value={role}
            onChange={({ currentTarget: { value } }) => {
              put(at, { role: ROLES.find((each) => each === value) ?? role });
            }}
          >
            {ROLES.map((each) => (
              <option key={each} value={each}>
                {said.roles[each]}
              </option>
            ))}
          </select>
          <textarea
            aria-label={said.messageText(at + 1)}
            rows={2}
            dir="auto"
            value={content}
            onInput={(event) => {
              put(at, { content: event.currentTarget.value });
            }}
          />
          <button
            class="icon-button"
            type="button"
            aria-label={said.removeMessage(at + 1)}
            title={said.removeMessage(at + 1)}
            onClick={() => {
              onChange(messages.filter((_, row) => row !== at));
            }}
          >
            <Icon name="trash" />
          </button>
        </div>
      ))}
      <div class="buttons">
        <button
          class="quiet"
          type="button"
          onClick={() => {
            const isAnswer = messages.at(-1)?.role === "user";
            onChange([...messages, { role: isAnswer ? "assistant" : "user", content: "…" }]);
          }}
        >
          <Icon name="plus" />
          {said.addMessage}
        </button>
      </div>
    </fieldset>
  );
}

function withParameters(text: string, before: ChatParameters, after: ChatParameters): string {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])];
  return names
    .filter((name) => isChatNumber(name) || name === "stop")
    .filter((name) => before[name] !== after[name])
    .reduce((written, name) => withParameter(written, name, after[name]), text);
}

function readText(text: string): Modelfile | ModelfileError {
  try {
    return parseModelfile(text);
  } catch (error) {
    return error instanceof ModelfileError ? error : new ModelfileError(String(error));
  }
}

function describeError({ line, reason }: ModelfileError): string {
  return line === null ? reason : words.value.presets.line(line, reason);
}
