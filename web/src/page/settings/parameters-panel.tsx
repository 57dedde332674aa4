/** System prompt and parameters of a conversation, each with what it does and what the model has itself. */
import { useId, useState } from "preact/hooks";

import {
  MAX_STOPS,
  MAX_STOP_CHARACTERS,
  PARAMETERS,
  checkStops,
} from "../../chat/modelfile-parameters.ts";
import type { ChatParameters, OverflowPolicy } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import {
  type OwnDefaults,
  PARAMETER_GROUPS,
  type ParameterFacts,
  ownValue,
  readNumber,
  withNumber,
  without,
} from "./parameter-facts.ts";
import "./settings.css";

export interface ParametersPanelProps {
  system: string;
  parameters: ChatParameters;
  overflow: OverflowPolicy;
  /** What the model brings (`readOwnDefaults`); null: not known. */
  own: OwnDefaults | null;
  actions: {
    setSystem: (system: string) => void;
    setParameters: (parameters: ChatParameters) => void;
    setOverflow: (overflow: OverflowPolicy) => void;
  };
  onClose: () => void;
}

export function ParametersPanel(props: ParametersPanelProps) {
  const { system, parameters, overflow, own, actions, onClose } = props;
  const { parameters: said } = words.value.settings;
  const id = useId();
  return (
    <Dialog title={said.title} onClose={onClose} form="side">
      <div class="stack">
        <p class="lead">{said.lead}</p>
        <div class="field">
          <label for={`${id}-system`}>{said.system}</label>
          <textarea
            id={`${id}-system`}
            rows={5}
            dir="auto"
            value={system}
            placeholder={own?.system ?? said.systemPlaceholder}
            aria-describedby={`${id}-system-hint`}
            onInput={(event) => {
              actions.setSystem(event.currentTarget.value);
            }}
          />
          <p class="field-hint" id={`${id}-system-hint`}>
            {(own?.system ?? null) === null ? said.systemHint : said.systemOwn}
          </p>
        </div>
        <ParameterFields parameters={parameters} own={own} onChange={actions.setParameters} />
        <OverflowChoice overflow={overflow} onChange={actions.setOverflow} />
      </div>
    </Dialog>
  );
}

export interface ParameterFieldsProps {
  parameters: ChatParameters;
  own: OwnDefaults | null;
  onChange: (parameters: ChatParameters) => void;
}

/** All parameters in their groups; also the part of a preset's form. */
export function ParameterFields({ parameters, own, onChange }: ParameterFieldsProps) {
  const { parameters: said } = words.value.settings;
  const changed = Object.values(parameters).filter((value) => value !== undefined).length;
  return (
    <div class="stack">
      {(["choice", "repetition", "length"] as const).map((group) => (
        <fieldset key={group} class="group">
          <legend>{said.groups[group]}</legend>
          {PARAMETER_GROUPS[group].map((facts) => (
            <NumberField
              key={facts.name}
              facts={facts}
              value={parameters[facts.name]}
              own={own}
              onChange={(value) => {
                onChange(withNumber(parameters, facts.name, value));
              }}
            />
          ))}
          {group === "length" && (
            <StopField
              stops={parameters.stop}
              own={own?.parameters.stop}
              onChange={(stop) => {
                const others = without(parameters, "stop");
                onChange(stop === undefined ? others : { ...others, stop });
              }}
            />
          )}
        </fieldset>
      ))}
      {changed > 0 && (
        <div class="buttons">
          <button
            class="quiet"
            type="button"
            onClick={() => {
              onChange({});
            }}
          >
            <Icon name="retry" />
            {said.resetAll}
          </button>
          <span class="chip">{said.changed(changed)}</span>
        </div>
      )}
    </div>
  );
}

interface NumberFieldProps {
  facts: ParameterFacts;
  /** undefined: the model's own. */
  value: number | undefined;
  own: OwnDefaults | null;
  onChange: (value: number | undefined) => void;
}

function NumberField({ facts, value, own, onChange }: NumberFieldProps) {
  const { name, slider, special, isWhole } = facts;
  const { parameters: said } = words.value.settings;
  const id = useId();
  /** What is being typed, while it is not what holds. */
  const [typed, setTyped] = useState<string | null>(null);
  const otherwise = ownValue(name, own);
  const isWrong = typed !== null && typed.trim() !== "" && readNumber(name, typed) === null;
  const { least = 0, most = 0 } = PARAMETERS[name] ?? {};
  const label = said.names[name];
  const otherwiseText = wordFor(special, otherwise.value) ?? String(otherwise.value);
  return (
    <div class="field parameter">
      <div class="field-head">
        <label for={`${id}-number`}>{label}</label>
        <span class="parameter-own">
          {otherwise.isOwn ? said.own(otherwiseText) : said.usual(otherwiseText)}
        </span>
      </div>
      <div class="parameter-line">
        {slider !== null && (
          <input
            type="range"
            min={slider.least}
            max={slider.most}
            step={slider.step}
            value={value ?? otherwise.value}
            aria-label={label}
            aria-describedby={`${id}-hint`}
            class={value === undefined ? "is-own" : ""}
            onInput={(event) => {
              setTyped(null);
              onChange(Number(event.currentTarget.value));
            }}
          />
        )}
        <input
          id={`${id}-number`}
          class="parameter-number"
          type="text"
          inputMode={isWhole && least >= 0 ? "numeric" : "text"}
          autocomplete="off"
          dir="ltr"
          value={typed ?? (value === undefined ? "" : String(value))}
          placeholder={otherwiseText}
          aria-invalid={isWrong}
          aria-describedby={`${id}-hint`}
          onInput={(event) => {
            const text = event.currentTarget.value;
            const read = readNumber(name, text);
            setTyped(text);
            if (read !== null || text.trim() === "") {
              onChange(read ?? undefined);
            }
          }}
          onBlur={() => {
            if (!isWrong) {
              setTyped(null);
            }
          }}
        />
        <button
          class="icon-button"
          type="button"
          aria-label={said.reset(label)}
          title={said.reset(label)}
          disabled={value === undefined && typed === null}
          onClick={() => {
            setTyped(null);
            onChange(undefined);
          }}
        >
          <Icon name="retry" />
        </button>
      </div>
      <p class={isWrong ? "field-error" : "field-hint"} id={`${id}-hint`}>
        {isWrong ? said.range(String(least), String(most)) : said.hints[name]}
      </p>
    </div>
  );
}

interface StopFieldProps {
  stops: readonly string[] | undefined;
  own: readonly string[] | undefined;
  onChange: (stops: readonly string[] | undefined) => void;
}

function StopField({ stops, own, onChange }: StopFieldProps) {
  const { parameters: said } = words.value.settings;
  const id = useId();
  const [typed, setTyped] = useState<string | null>(null);
  const [error, setError] = useState<"many" | "long" | null>(null);
  return (
    <div class="field parameter">
      <div class="field-head">
        <label for={`${id}-stops`}>{said.names.stop}</label>
        {own !== undefined && <span class="parameter-own">{said.own(own.join("  "))}</span>}
      </div>
      <textarea
        id={`${id}-stops`}
        rows={2}
        dir="auto"
        spellcheck={false}
        value={typed ?? (stops ?? []).map(escapeLine).join("\n")}
        aria-invalid={error !== null}
        aria-describedby={`${id}-hint`}
        onInput={(event) => {
          const text = event.currentTarget.value;
          setTyped(text);
          const texts = text
            .split("\n")
            .filter((line) => line !== "")
            .map(readLine);
          const problem =
            texts.length > MAX_STOPS
              ? "many"
              : texts.some((each) => Array.from(each).length > MAX_STOP_CHARACTERS)
                ? "long"
                : null;
          setError(problem);
          if (problem === null) {
            onChange(texts.length === 0 ? undefined : checkStops(texts));
          }
        }}
        onBlur={() => {
          if (error === null) {
            setTyped(null);
          }
        }}
      />
      <p class={error === null ? "field-hint" : "field-error"} id={`${id}-hint`}>
        {error === "many"
          ? said.stopTooMany(MAX_STOPS)
          : error === "long"
            ? said.stopTooLong(MAX_STOP_CHARACTERS)
            : said.hints.stop}
      </p>
    </div>
  );
}

interface OverflowChoiceProps {
  overflow: OverflowPolicy;
  onChange: (overflow: OverflowPolicy) => void;
}

function OverflowChoice({ overflow, onChange }: OverflowChoiceProps) {
  const { parameters: said } = words.value.settings;
  const id = useId();
  const rows = [
    ["ask", said.overflowAsk, said.overflowAskHint],
    ["drop-oldest", said.overflowDrop, said.overflowDropHint],
  ] as const;
  return (
    <fieldset class="group">
      <legend>{said.overflow}</legend>
      {rows.map(([value, label, hint]) => (
        <div key={value} class="option">
          <input
            id={`${id}-${value}`}
            type="radio"
            name={id}
            checked={overflow === value}
            aria-describedby={`${id}-${value}-hint`}
            onChange={() => {
              onChange(value);
            }}
          />
          <label for={`${id}-${value}`}>{label}</label>
          <p class="field-hint" id={`${id}-${value}-hint`}>
            {hint}
          </p>
        </div>
      ))}
    </fieldset>
  );
}

/** Ollama's negative numbers, in words. */
function wordFor(special: ParameterFacts["special"], value: number): string | null {
  const { parameters: said } = words.value.settings;
  if (value >= 0 || special === null) {
    return null;
  }
  return special === "random" ? said.random : value === -2 ? said.whole : said.unlimited;
}

/** A line break within a stop text is written \n, as programs write it. */
function escapeLine(text: string): string {
  return text.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
}

function readLine(line: string): string {
  return line.replace(/\\([\\n])/g, (_, letter) => (letter === "n" ? "\n" : "\\"));
}
