/** Has the server make a model of a preset; where there is none, says so. */
import { useId, useState } from "preact/hooks";

import { createRequest } from "../../chat/modelfile-settings.ts";
import { parseModelfile } from "../../chat/modelfile.ts";
import type { Preset } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";

/** As the store takes them (`transom_models/name.py`). */
const NAME = /^(?:\w[\w-]{0,79}\/)?\w[\w.-]{0,79}(?::\w[\w.-]{0,79})?$/;

/**
 * @param request the body of `/api/create`.
 * @param onStatus hears what the server is at.
 */
export type SaveAsModelAction = (
  request: object,
  onStatus: (status: string) => void,
) => Promise<void>;

export interface SaveAsModelProps {
  preset: Preset;
  save: SaveAsModelAction | null;
  onClose: () => void;
}

export function SaveAsModel({ preset, save, onClose }: SaveAsModelProps) {
  const { presets: said, shell } = words.value;
  const id = useId();
  const [name, setName] = useState(nameOf(preset.name));
  const [status, setStatus] = useState<string | null>(null);
  const [state, setState] = useState<"asking" | "making" | "made">("asking");
  const [error, setError] = useState<string | null>(null);
  const isName = NAME.test(name);
  const make = async (action: SaveAsModelAction) => {
    setState("making");
    setError(null);
    try {
      const request = createRequest(name, parseModelfile(preset.modelfile));
      if (request === null) {
        throw new Error(said.notHere);
      }
      await action(request, setStatus);
      setState("made");
    } catch (reason) {
      setState("asking");
      setError(reason instanceof Error ? reason.message : String(reason));
    }
  };
  if (save === null || state === "made") {
    return (
      <div class="stack">
        <p class={save === null ? "note is-notice" : "note is-good"} role="status">
          {save === null ? said.noServer : said.savedModel(name)}
        </p>
        <div class="buttons is-end">
          <button class="primary" type="button" onClick={onClose}>
            {shell.close}
          </button>
        </div>
      </div>
    );
  }
  return (
    <form
      class="stack"
      onSubmit={(event) => {
        event.preventDefault();
        if (isName && state === "asking") {
          void make(save);
        }
      }}
    >
      <p>{said.saveLead}</p>
      <div class="field">
        <label for={id}>{said.saveName}</label>
        <input
          id={id}
          value={name}
          dir="ltr"
          spellcheck={false}
          autocapitalize="off"
          aria-invalid={!isName}
          aria-describedby={`${id}-hint`}
          onInput={(event) => {
            setName(event.currentTarget.value.trim());
          }}
        />
        <p class={isName ? "field-hint" : "field-error"} id={`${id}-hint`}>
          {said.saveNameHint}
        </p>
      </div>
      {error !== null && (
        <p class="note is-warning" role="alert">
          {error}
        </p>
      )}
      <p class="field-hint" role="status">
        {state === "making" ? (status ?? said.saving) : ""}
      </p>
      <div class="buttons is-end">
        <button class="quiet" type="button" onClick={onClose}>
          {said.cancel}
        </button>
        <button class="primary" type="submit" disabled={!isName || state === "making"}>
          {said.saveNow}
        </button>
      </div>
    </form>
  );
}

/** A name that a store takes, out of one that people gave. */
export function nameOf(preset: string): string {
  const plain = preset.normalize("NFKD").toLowerCase();
  const name = plain
    .replace(/\p{M}+/gu, "")
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "");
  return name.slice(0, 60) || "preset";
}
