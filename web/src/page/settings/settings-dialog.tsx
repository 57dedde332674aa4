/** What holds for the whole page: looks, keys, the server's API key, privacy, and what this is. */
import { useId, useState } from "preact/hooks";

import { describe } from "../../errors.ts";
import { LANGUAGES, type Language, preferredLanguage, words } from "../i18n/words.ts";
import { type Situation, describePlace, placeNow } from "../place-text.ts";
import { Choice } from "../ui/choice.tsx";
import { Dialog } from "../ui/dialog.tsx";
import { Tabs } from "../ui/tabs.tsx";
import { LIBRARIES } from "./libraries.ts";
import { CONTRASTS, type Preferences, SEND_KEYS, TEXT_SIZES, THEMES } from "./preferences.ts";
import "./settings.css";

const SECTIONS = ["look", "chat", "server", "privacy", "about"] as const;
export type SettingsSection = (typeof SECTIONS)[number];

export interface SettingsDialogProps {
  preferences: Preferences;
  situation: Situation;
  /** `location.host` of the page. */
  host: string;
  version: string;
  /** The section that shows first. */
  section?: SettingsSection;
  /** For the server of this page; null: none. */
  apiKey: string | null;
  actions: {
    choose: (change: Partial<Preferences>) => void;
    /** @throws Error that says why this is no key. */
    keepApiKey: (key: string | null) => void;
    want: (wanted: "auto" | "browser" | "server") => void;
    /** Everything that this browser keeps of the page; reloads it. */
    deleteEverything: () => Promise<void>;
  };
  onClose: () => void;
}

export function SettingsDialog(props: SettingsDialogProps) {
  const { settings } = words.value;
  const [section, setSection] = useState<SettingsSection>(props.section ?? "look");
  return (
    <Dialog title={settings.title} onClose={props.onClose} form="side">
      <Tabs
        label={settings.title}
        view={section}
        views={SECTIONS.map((each) => [each, settings.sections[each]] as const)}
        onView={setSection}
      >
        {section === "look" && <Look {...props} />}
        {section === "chat" && <Chat {...props} />}
        {section === "server" && <Answers {...props} />}
        {section === "privacy" && <Privacy {...props} />}
        {section === "about" && <About {...props} />}
      </Tabs>
    </Dialog>
  );
}

function Look({ preferences, actions }: SettingsDialogProps) {
  const { settings } = words.value;
  const id = useId();
  const browsers = LANGUAGES[preferredLanguage(navigator.languages)];
  return (
    <div class="stack">
      <div class="field">
        <label for={`${id}-language`}>{settings.language}</label>
        <select
          id={`${id}-language`}
          value={preferences.language ?? ""}
          onChange={({ currentTarget: { value } }) => {
            actions.choose({ language: value === "" ? null : (value as Language) });
          }}
        >
          <option value="">{settings.languageOfBrowser(browsers)}</option>
          {Object.entries(LANGUAGES).map(([tag, name]) => (
            <option key={tag} value={tag} lang={tag}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <Choice
        label={settings.theme}
        value={preferences.theme}
        options={THEMES.map((each) => [each, settings.themes[each]] as const)}
        onChange={(theme) => {
          actions.choose({ theme });
        }}
      />
      <Choice
        label={settings.contrast}
        value={preferences.contrast}
        options={CONTRASTS.map((each) => [each, settings.contrasts[each]] as const)}
        onChange={(contrast) => {
          actions.choose({ contrast });
        }}
      />
      <Choice
        label={settings.textSize}
        value={preferences.textSize}
        options={TEXT_SIZES.map((each) => [each, settings.textSizes[each]] as const)}
        onChange={(textSize) => {
          actions.choose({ textSize });
        }}
      />
    </div>
  );
}

function Chat({ preferences, actions }: SettingsDialogProps) {
  const { settings } = words.value;
  const { about } = settings;
  const withCtrl = preferences.sendKey === "ctrl-enter";
  return (
    <div class="stack">
      <Choice
        label={settings.sendKey}
        value={preferences.sendKey}
        options={SEND_KEYS.map((each) => [each, settings.sendKeys[each]] as const)}
        hint={settings.sendKeyHint[preferences.sendKey]}
        onChange={(sendKey) => {
          actions.choose({ sendKey });
        }}
      />
      <section>
        <h3>{about.keys}</h3>
        <dl class="key-list">
          <KeyRow keys={withCtrl ? ["Ctrl", "Enter"] : ["Enter"]} does={about.keyRows.send} />
          <KeyRow keys={withCtrl ? ["Enter"] : ["Shift", "Enter"]} does={about.keyRows.newLine} />
          <KeyRow keys={["Esc"]} does={about.keyRows.stop} />
        </dl>
      </section>
    </div>
  );
}

function KeyRow({ keys, does }: { keys: readonly string[]; does: string }) {
  return (
    <div>
      <dt>
        {keys.map((key, at) => (
          <>
            {at > 0 && " + "}
            <kbd key={key}>{key}</kbd>
          </>
        ))}
      </dt>
      <dd>{does}</dd>
    </div>
  );
}

function Answers({ apiKey, situation, host, actions }: SettingsDialogProps) {
  const { settings, place } = words.value;
  const id = useId();
  const [isShown, setShown] = useState(false);
  const [fault, setFault] = useState<string | null>(null);
  const keep = (key: string | null) => {
    try {
      actions.keepApiKey(key);
      setFault(null);
    } catch (error) {
      setFault(describe(error));
    }
  };
  const { wanted, hasServer } = situation.place;
  const rows = [
    ["auto", place.automatic, place.automaticHint],
    ["browser", place.thisBrowser, place.thisBrowserHint],
    ["server", hasServer ? place.theServer : place.theServerMissing, place.theServerHint(host)],
  ] as const;
  return (
    <div class="stack">
      <p class="note">{describePlace(situation)}.</p>
      <fieldset class="group">
        <legend>{place.answersFrom}</legend>
        {rows.map(([value, label, hint]) => (
          <div key={value} class="option">
            <input
              id={`${id}-${value}`}
              type="radio"
              name={id}
              checked={wanted === value}
              disabled={value === "server" && !hasServer && wanted !== "server"}
              aria-describedby={`${id}-${value}-hint`}
              onChange={() => {
                actions.want(value);
              }}
            />
            <label for={`${id}-${value}`}>{label}</label>
            <p class="field-hint" id={`${id}-${value}-hint`}>
              {hint}
            </p>
          </div>
        ))}
      </fieldset>
      <div class="field">
        <label for={`${id}-key`}>{settings.apiKey}</label>
        <input
          id={`${id}-key`}
          {...(isShown ? { type: "text" as const } : { type: "password" as const })}
          autocomplete="off"
          spellcheck={false}
          dir="ltr"
          maxLength={1024}
          value={apiKey ?? ""}
          aria-describedby={`${id}-key-hint`}
          onChange={(event) => {
            const key = event.currentTarget.value.trim();
            keep(key === "" ? null : key);
          }}
        />
        <p class="field-hint" id={`${id}-key-hint`}>
          {settings.apiKeyHint}
        </p>
        {fault !== null && (
          <p class="note is-warning" role="alert">
            {fault}
          </p>
        )}
        {apiKey !== null && (
          <div class="buttons">
            <button
              class="quiet"
              type="button"
              onClick={() => {
                setShown(!isShown);
              }}
            >
              {isShown ? settings.apiKeyHide : settings.apiKeyShow}
            </button>
            <button
              class="quiet"
              type="button"
              onClick={() => {
                keep(null);
              }}
            >
              {settings.apiKeyForget}
            </button>
          </div>
        )}
      </div>
    </div>
  );
}

function Privacy({ situation, host, actions }: SettingsDialogProps) {
  const { privacy } = words.value.settings;
  const isServer = placeNow(situation) === "server";
  return (
    <div class="stack prose">
      <p class="lead">{privacy.lead}</p>
      <p class={isServer ? "note is-notice" : "note is-good"}>
        <strong>{privacy.now}:</strong> {isServer ? privacy.nowServer(host) : privacy.nowBrowser}
      </p>
      <section>
        <h3>{privacy.stays}</h3>
        <ul>
          {privacy.staysItems.map((item) => (
            <li key={item}>{item}</li>
          ))}
        </ul>
      </section>
      <section>
        <h3>{privacy.leaves}</h3>
        <ul>
          <li>{privacy.leavesNothing}</li>
          <li>{privacy.leavesServer(host)}</li>
          <li>{privacy.leavesTools}</li>
          <li>{privacy.leavesVoice}</li>
        </ul>
      </section>
      <Wipe onWipe={actions.deleteEverything} />
    </div>
  );
}

function Wipe({ onWipe }: { onWipe: () => Promise<void> }) {
  const { privacy } = words.value.settings;
  const [state, setState] = useState<"idle" | "asking" | "wiping">("idle");
  const [error, setError] = useState<string | null>(null);
  return (
    <section>
      <h3>{privacy.wipe}</h3>
      <p class="field-hint">{privacy.wipeHint}</p>
      <div class="buttons">
        {state === "idle" ? (
          <button
            class="quiet is-danger"
            type="button"
            onClick={() => {
              setState("asking");
            }}
          >
            {privacy.wipe}
          </button>
        ) : (
          <>
            <strong role="status">{state === "wiping" ? privacy.wiping : privacy.wipeSure}</strong>
            <button
              class="primary is-danger"
              type="button"
              disabled={state === "wiping"}
              onClick={() => {
                setState("wiping");
                setError(null);
                onWipe().catch((reason: unknown) => {
                  setState("asking");
                  setError(reason instanceof Error ? reason.message : String(reason));
                });
              }}
            >
              {privacy.wipeYes}
            </button>
            <button
              class="quiet"
              type="button"
              disabled={state === "wiping"}
              onClick={() => {
                setState("idle");
              }}
            >
              {privacy.wipeNo}
            </button>
          </>
        )}
      </div>
      {error !== null && (
        <p class="note is-warning" role="alert">
          {error}
        </p>
      )}
    </section>
  );
}

function About({ version }: SettingsDialogProps) {
  const { about } = words.value.settings;
  return (
    <div class="stack prose">
      <p class="lead">{about.version(version)}</p>
      <p>{about.what}</p>
      <section>
        <h3>{about.libraries}</h3>
        <ul class="libraries" dir="ltr">
          {LIBRARIES.map(([name, licence]) => (
            <li key={name}>
              <span>{name}</span> <span>{licence}</span>
            </li>
          ))}
        </ul>
      </section>
    </div>
  );
}
