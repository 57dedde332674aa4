/** All models there are, to be searched. */
import { useState } from "preact/hooks";

import { type ModelCard, search } from "../../client/model-cards.ts";
import { words } from "../i18n/words.ts";
import { Dialog } from "../ui/dialog.tsx";
import { Icon } from "../ui/icon.tsx";
import { ModelCardView } from "./model-card-view.tsx";
import type { ModelsActions, ModelsState } from "./models-types.ts";

type Shown = "all" | "here" | "host";

export interface CatalogueViewProps {
  state: ModelsState;
  actions: ModelsActions;
  onChat: (card: ModelCard) => void;
}

export function CatalogueView({ state, actions, onChat }: CatalogueViewProps) {
  const said = words.value.models;
  const [text, setText] = useState("");
  const [shown, setShown] = useState<Shown>("all");
  const [licensed, setLicensed] = useState<ModelCard | null>(null);
  const [message, setMessage] = useState("");
  const cards = state.cards.value;
  const found = search(cards ?? [], text).filter((card) => isShown(card, shown));
  const error = state.error.value;
  return (
    <section class="catalogue" aria-label={said.all}>
      <div class="catalogue-bar">
        <div class="field catalogue-search">
          <label class="hidden" for="models-search">
            {said.search}
          </label>
          <Icon name="search" />
          <input
            id="models-search"
            type="search"
            value={text}
            placeholder={said.searchHint}
            autocomplete="off"
            onInput={({ currentTarget }) => {
              setText(currentTarget.value);
            }}
          />
        </div>
        <div class="field catalogue-shown">
          <label class="hidden" for="models-shown">
            {said.show}
          </label>
          <select
            id="models-shown"
            value={shown}
            onChange={({ currentTarget }) => {
              setShown(currentTarget.value as Shown);
            }}
          >
            <option value="all">{said.showAll}</option>
            <option value="here">{said.showHere}</option>
            <option value="host">{said.showHost}</option>
          </select>
        </div>
      </div>
      <p class="models-aside" role="status">
        {cards === null ? said.loadingList : said.found(found.length)}
      </p>
      {error !== null && <p class="note is-warning">{said.listFailed(error)}</p>}
      <p class="models-message" role="status">
        {message}
      </p>
      {cards !== null && found.length === 0 && (
        <p class="catalogue-empty">{cards.length === 0 ? said.noModels : said.nothingFound}</p>
      )}
      <ul class="catalogue-cards">
        {found.map((card) => (
          <ModelCardView
            key={card.name}
            card={card}
            fitness={state.fits.value.get(card.name) ?? null}
            download={state.downloads.value.find(({ name }) => name === card.name) ?? null}
            hostName={state.hostName}
            hasServer={state.host === "server"}
            actions={actions}
            onChat={onChat}
            onLicense={setLicensed}
            onTell={setMessage}
          />
        ))}
      </ul>
      {licensed !== null && (
        <Dialog
          title={said.licenseOf(licensed.title)}
          onClose={() => {
            setLicensed(null);
          }}
        >
          <pre class="license-text" tabIndex={0}>
            {licenseText(licensed, state.facts.value.get(licensed.name)?.licenseText)}
          </pre>
        </Dialog>
      )}
    </section>
  );
}

function isShown({ state, isOffered }: ModelCard, shown: Shown): boolean {
  switch (shown) {
    case "all":
      return true;
    case "here":
      return state !== "offered";
    case "host":
      return isOffered;
  }
}

/** Where nobody has the text, its id has to do. */
function licenseText({ license }: ModelCard, text = ""): string {
  return text === "" ? (license ?? "") : text;
}
