/** Where an MCP server is, and what it is asked with. */
import type { ComponentChildren, InputHTMLAttributes, RefObject } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";

import { type FieldFault, InvalidField, type ServerFields } from "../../tools/mcp/server.ts";
import { words } from "../i18n/words.ts";

export interface ServerFormProps {
  /** Left out: a new one. */
  fields?: ServerFields;
  /** @throws InvalidField, which the form shows. */
  onSave: (fields: ServerFields) => Promise<void>;
  onClose: () => void;
}

const EMPTY: ServerFields = { name: "", url: "", token: "", headers: "" };

export function ServerForm({ fields = EMPTY, onSave, onClose }: ServerFormProps) {
  const { panel } = words.value.tools;
  const [typed, setTyped] = useState(fields);
  const [fault, setFault] = useState<{ field: keyof ServerFields; fault: FieldFault } | null>(null);
  const [isSaving, setSaving] = useState(false);
  const form = useRef<HTMLFormElement>(null);
  const first = useRef<HTMLInputElement>(null);
  useEffect(() => {
    first.current?.focus();
  }, []);
  useEffect(() => {
    form.current?.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
  }, [fault]);
  const set = (change: Partial<ServerFields>) => {
    setTyped({ ...typed, ...change });
  };
  const save = async () => {
    setSaving(true);
    setFault(null);
    try {
      await onSave(typed);
      onClose();
    } catch (error) {
      if (!(error instanceof InvalidField)) {
        throw error;
      }
      setFault(error);
    } finally {
      setSaving(false);
    }
  };
  const faultOf = (field: keyof ServerFields) =>
    fault?.field === field ? panel.faults[fault.fault] : null;
  return (
    <form
      class="card server-form"
      ref={form}
      onSubmit={(event) => {
        event.preventDefault();
        void save();
      }}
    >
      <Field
        label={panel.url}
        hint={panel.urlHint}
        fault={faultOf("url")}
        type="url"
        value={typed.url}
        field={first}
        isRequired
        onInput={(url) => {
          set({ url });
        }}
      />
      <Field
        label={panel.name}
        hint={panel.nameHint}
        fault={faultOf("name")}
        type="text"
        value={typed.name}
        onInput={(name) => {
          set({ name });
        }}
      />
      <Field
        label={panel.token}
        hint={panel.tokenHint}
        fault={faultOf("token")}
        type="password"
        value={typed.token}
        onInput={(token) => {
          set({ token });
        }}
      />
      <Headers
        fault={faultOf("headers")}
        value={typed.headers}
        onInput={(headers) => {
          set({ headers });
        }}
      />
      <div class="buttons is-end">
        <button class="quiet" type="button" onClick={onClose}>
          {panel.cancel}
        </button>
        <button class="primary" type="submit" disabled={isSaving}>
          {panel.save}
        </button>
      </div>
    </form>
  );
}

interface FieldProps {
  label: string;
  hint: string;
  fault: string | null;
  type: "url" | "text" | "password";
  value: string;
  isRequired?: boolean;
  field?: RefObject<HTMLInputElement | null>;
  onInput: (value: string) => void;
}

function Field({ label, hint, fault, type, value, isRequired, field, onInput }: FieldProps) {
  const id = useId();
  const own = useRef<HTMLInputElement>(null);
  // Not of the type "url": the browser's own check speaks the browser's language, and refuses less.
  const shared: Pick<
    InputHTMLAttributes,
    "autocomplete" | "dir" | "inputmode" | "onInput" | "spellcheck" | "value"
  > = {
    inputmode: type === "url" ? "url" : "text",
    dir: type === "text" ? "auto" : "ltr",
    value,
    autocomplete: "off",
    spellcheck: false,
    onInput: (event) => {
      onInput(event.currentTarget.value);
    },
  };
  const told = {
    id,
    "aria-required": isRequired === true,
    "aria-invalid": fault !== null,
    "aria-describedby": `${id}-hint`,
  };
  return (
    <Framed id={id} label={label} hint={hint} fault={fault}>
      {type === "password" ? (
        <input {...shared} {...told} ref={field ?? own} type="password" />
      ) : (
        <input {...shared} {...told} ref={field ?? own} type="text" />
      )}
    </Framed>
  );
}

function Headers(props: { fault: string | null; value: string; onInput: (value: string) => void }) {
  const { panel } = words.value.tools;
  const { fault, value, onInput } = props;
  const id = useId();
  return (
    <details class="server-more" open={value !== "" || fault !== null}>
      <summary>{panel.headers}</summary>
      <Framed id={id} label={panel.headers} hint={panel.headersHint} fault={fault}>
        <textarea
          id={id}
          dir="ltr"
          rows={3}
          value={value}
          autocomplete="off"
          spellcheck={false}
          aria-invalid={fault !== null}
          aria-describedby={`${id}-hint`}
          onInput={(event) => {
            onInput(event.currentTarget.value);
          }}
        />
      </Framed>
    </details>
  );
}

function Framed(props: {
  id: string;
  label: string;
  hint: string;
  fault: string | null;
  children: ComponentChildren;
}) {
  const { id, label, hint, fault, children } = props;
  return (
    <div class="field">
      <label for={id}>{label}</label>
      {children}
      <div id={`${id}-hint`}>
        {fault !== null && <p class="field-error">{fault}</p>}
        <p class="field-hint">{hint}</p>
      </div>
    </div>
  );
}
