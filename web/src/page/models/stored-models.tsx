/**
 * Models that this browser keeps: how much there is, who leaves first, and files to bring in.
 *
 * Ids and names are those that the page always had: people's scripts know them.
 */
import { useEffect, useRef, useState } from "preact/hooks";

import { isSameSource, sourceOf } from "../../client/catalogue.ts";
import type { ModelCard } from "../../client/model-cards.ts";
import type { PickedFile, StoredModel } from "../../protocol.ts";
import { thrownText } from "../error-text.ts";
import { words } from "../i18n/words.ts";
import { DeleteButton } from "./delete-button.tsx";
import { FileChoices } from "./file-choices.tsx";
import type { ModelsActions, ModelsState } from "./models-types.ts";
import { bytesText, leavingOrder, storageText, storedText } from "./models-words.ts";

export interface StoredModelsProps {
  state: Pick<ModelsState, "storage" | "cards" | "tasks">;
  actions: Pick<
    ModelsActions,
    | "refresh"
    | "pin"
    | "remove"
    | "persist"
    | "addressOf"
    | "bringIn"
    | "download"
    | "downloadBundle"
  >;
}

export function StoredModels({ state, actions }: StoredModelsProps) {
  const said = words.value.storage;
  const [message, setMessage] = useState("");
  const heading = useRef<HTMLHeadingElement>(null);
  const storage = state.storage.value;
  const models = storage?.models ?? [];
  const order = leavingOrder(models);
  const tell = (failure: unknown) => {
    setMessage(thrownText(failure));
  };
  useEffect(() => {
    actions.refresh().catch(tell);
  }, [actions]);

  const bringIn = (files: readonly PickedFile[]) => {
    setMessage("");
    actions.bringIn(files).then((names) => {
      setMessage(said.imported(names.join(", ")));
    }, tell);
  };
  const isImporting = state.tasks.value.some(
    (task) => task.kind === "import" && task.state === "running",
  );
  return (
    <section class="stored-models" id="storage" aria-labelledby="storage-title">
      <h2 class="models-heading" id="storage-title" tabIndex={-1} ref={heading}>
        {said.title}
      </h2>
      <p class="models-aside" id="storage-summary">
        {storage !== null && storageText(storage)}
      </p>
      {typeof storage?.quotaBytes === "number" && storage.usedBytes !== null && (
        <meter
          class="models-room-meter"
          min={0}
          max={storage.quotaBytes}
          value={storage.usedBytes}
          aria-label={said.inUse(bytesText(storage.usedBytes), bytesText(storage.quotaBytes))}
        />
      )}
      {storage !== null && !storage.isPersisted && models.length > 0 && (
        <p class="models-persist">
          <button
            class="quiet"
            id="storage-persist"
            type="button"
            onClick={() => {
              actions.persist().then((isPersisted) => {
                setMessage(isPersisted ? said.persisted : said.browserDecides);
              }, tell);
            }}
          >
            {said.keepModels}
          </button>
          <span class="models-aside">{said.keepModelsText}</span>
        </p>
      )}
      <ul class="models-list" id="storage-models" aria-label={said.models}>
        {models.map((model) => (
          <StoredRow
            key={model.id}
            model={model}
            place={order.includes(model.id) ? order.indexOf(model.id) + 1 : null}
            card={cardOf(state.cards.value, model)}
            actions={actions}
            onTell={setMessage}
            onGone={() => {
              heading.current?.focus();
            }}
          />
        ))}
      </ul>
      {models.length > 0 && <p class="models-aside">{said.order}</p>}
      <FileChoices
        id="import"
        file={said.importFile}
        folder={said.importFolder}
        isDisabled={isImporting}
        onPick={bringIn}
      />
      <p class="models-message" id="storage-message" role="status">
        {message}
      </p>
    </section>
  );
}

interface StoredRowProps {
  model: StoredModel;
  place: number | null;
  /** Null: the catalogue does not have it. */
  card: ModelCard | null;
  actions: StoredModelsProps["actions"];
  onTell: (message: string) => void;
  onGone: () => void;
}

function StoredRow({ model, place, card, actions, onTell, onGone }: StoredRowProps) {
  const said = words.value.storage;
  const [isAsking, setAsking] = useState(false);
  const { id, name, isPinned } = model;
  const address = actions.addressOf(id);
  const isPartial = model.storedBytes < model.totalBytes;
  return (
    <li class="stored-row">
      <div class="stored-text">
        {address === null ? (
          <span class="stored-name">{name}</span>
        ) : (
          <a class="stored-name" href={address}>
            {name}
          </a>
        )}
        <span class="models-aside">{storedText(model, place, Date.now())}</span>
      </div>
      <div class="buttons">
        {!isAsking && isPartial && !model.isInUse && card !== null && (
          <button
            class="quiet"
            type="button"
            aria-label={said.resumeOf(name)}
            onClick={() => {
              actions.download(card);
            }}
          >
            {said.resume}
          </button>
        )}
        {!isAsking && (
          <button
            class="quiet"
            type="button"
            aria-pressed={isPinned}
            aria-label={said.pinOf(name)}
            onClick={() => {
              actions.pin(id, !isPinned).then(
                () => {
                  onTell(isPinned ? said.unpinned(name) : said.pinned(name));
                },
                (failure: unknown) => {
                  onTell(thrownText(failure));
                },
              );
            }}
          >
            {said.pin}
          </button>
        )}
        <DeleteButton
          model={model}
          name={name}
          onAsking={setAsking}
          onDelete={async () => {
            try {
              onTell(said.deleted(name, bytesText(await actions.remove(id))));
              onGone();
            } catch (failure) {
              onTell(thrownText(failure));
              throw failure;
            }
          }}
        />
      </div>
    </li>
  );
}

function cardOf(cards: readonly ModelCard[] | null, { id }: StoredModel): ModelCard | null {
  return cards?.find(({ request }) => isSameSource(sourceOf(id), request.source)) ?? null;
}
