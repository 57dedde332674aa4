/** One model: what it is, where it runs and why, and what can be done with it. */
import { useEffect, useRef, useState } from "preact/hooks";

import {
  type Fitness,
  type ModelCard,
  type RunningPlace,
  placesOf,
} from "../../client/model-cards.ts";
import type { Download } from "../../client/downloads.ts";
import { thrownText } from "../error-text.ts";
import { words } from "../i18n/words.ts";
import { DeleteButton } from "./delete-button.tsx";
import type { ModelsActions } from "./models-types.ts";
import {
  bytesText,
  contextText,
  placeName,
  progressText,
  reasonText,
  sizeText,
  speedText,
  stateText,
  verdictText,
} from "./models-words.ts";

export interface ModelCardViewProps {
  card: ModelCard;
  /** Null: not asked yet, or on its way. */
  fitness: Fitness | null;
  /** Null: it is not in the line. */
  download: Download | null;
  hostName: string;
  /** A server answers for the models that it offers. */
  hasServer: boolean;
  actions: ModelsActions;
  onChat: (card: ModelCard) => void;
  onLicense: (card: ModelCard) => void;
  /** What happened, for the screen's one line of news. */
  onTell: (message: string) => void;
}

export function ModelCardView(props: ModelCardViewProps) {
  const { card, fitness, hostName, actions } = props;
  const said = words.value.models;
  const element = useRef<HTMLLIElement>(null);
  useSeen(element, () => {
    actions.look(card);
  });
  const fit = fitness?.kind === "fits" ? fitness.fit : null;
  const small = [card.parameters, card.quantization].filter(Boolean).join(" · ");
  return (
    <li class="card model-card" ref={element}>
      <header class="model-card-head">
        <h3 class="model-card-title">{card.title}</h3>
        <span class={`chip model-state is-${card.state}`}>{stateText(card, hostName)}</span>
      </header>
      <p class="model-card-can">
        {card.capabilities.map((each) => (
          <span class="chip" key={each}>
            {said[each]}
          </span>
        ))}
      </p>
      <dl class="model-facts">
        <Fact name={said.size}>{sizeText(card, fit)}</Fact>
        {small !== "" && <Fact name={said.parameters}>{small}</Fact>}
        {card.contextTokens !== null && (
          <Fact name={said.context}>{contextText(card.contextTokens)}</Fact>
        )}
        <Fact name={said.license}>
          <License card={card} onLicense={props.onLicense} />
        </Fact>
        <Fact name={said.speed}>{speedText(card)}</Fact>
      </dl>
      <Places {...props} />
      <CardButtons {...props} />
    </li>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function License({ card, onLicense }: Pick<ModelCardViewProps, "card" | "onLicense">) {
  const said = words.value.models;
  if (card.license === null || card.license === "") {
    return <>{card.license === null ? said.licenseUnknown : said.licenseNone}</>;
  }
  return (
    <button
      class="link-button"
      type="button"
      aria-label={`${card.license}: ${said.licenseRead(card.title)}`}
      onClick={() => {
        onLicense(card);
      }}
    >
      {card.license}
    </button>
  );
}

function Places({ card, fitness, hasServer, hostName }: ModelCardViewProps) {
  const said = words.value.models;
  const places = fitness === null ? [] : placesOf(fitness, hasServer && card.isOffered);
  return (
    <div class="model-places" role="group" aria-label={said.where}>
      {fitness === null && <p class="models-aside">{said.asking}</p>}
      {places.map((place) => (
        <Place key={place.where} place={place} hostName={hostName} />
      ))}
      {card.loadedBytes !== null && card.loadedBytes > 0 && (
        <p class="models-aside">{said.memoryNow(bytesText(card.loadedBytes))}</p>
      )}
    </div>
  );
}

function Place({ place, hostName }: { place: RunningPlace; hostName: string }) {
  const reasons = place.reasons.map(reasonText);
  if (place.where === "server") {
    reasons.push(words.value.models.leaves);
  }
  return (
    <div class={`model-place is-${place.verdict}`}>
      <p class="model-place-head">
        <span class="model-place-name">{placeName(place, hostName)}</span>
        <span class="model-verdict">{verdictText(place)}</span>
      </p>
      <p class="models-aside">{reasons.join(" ")}</p>
    </div>
  );
}

function CardButtons({ card, fitness, download, actions, onChat, onTell }: ModelCardViewProps) {
  const said = words.value.models;
  const kept = words.value.storage;
  const [isAsking, setAsking] = useState(false);
  const { name, title, state, stored } = card;
  const isHere = state === "stored" || state === "loaded";
  const chats = card.capabilities.length === 0 || card.capabilities.includes("completion");
  const runsHere = fitness?.kind !== "refused";
  const tell = (failure: unknown) => {
    onTell(thrownText(failure));
  };
  if (download !== null && download.state !== "done") {
    return <Downloading title={title} download={download} actions={actions} />;
  }
  return (
    <div class="buttons model-buttons">
      {!isAsking && chats && (
        <button
          class="primary"
          type="button"
          aria-label={said.chatWith(title)}
          onClick={() => {
            onChat(card);
          }}
        >
          {said.chat}
        </button>
      )}
      {!isHere && runsHere && (
        <button
          class="quiet"
          type="button"
          aria-label={state === "partial" ? said.resumeOf(title) : said.downloadOf(title)}
          onClick={() => {
            actions.download(card);
          }}
        >
          {state === "partial" ? said.resume : said.download}
        </button>
      )}
      {!isAsking && state === "stored" && (
        <button
          class="quiet"
          type="button"
          aria-label={said.loadOf(title)}
          onClick={() => {
            actions.load(card).catch(tell);
          }}
        >
          {said.load}
        </button>
      )}
      {!isAsking && state === "loaded" && (
        <button
          class="quiet"
          type="button"
          aria-label={said.unloadOf(title)}
          onClick={() => {
            actions.unload(card).catch(tell);
          }}
        >
          {said.unload}
        </button>
      )}
      {!isAsking && stored !== null && isHere && (
        <button
          class="quiet"
          type="button"
          aria-pressed={stored.isPinned}
          aria-label={kept.pinOf(title)}
          onClick={() => {
            actions.pin(stored.id, !stored.isPinned).then(() => {
              onTell(stored.isPinned ? kept.unpinned(title) : kept.pinned(title));
            }, tell);
          }}
        >
          {kept.pin}
        </button>
      )}
      {stored !== null && (
        <DeleteButton
          // Deleted and come again, nothing is asked.
          key={name}
          model={stored}
          name={title}
          onAsking={setAsking}
          onDelete={async () => {
            try {
              onTell(kept.deleted(title, bytesText(await actions.remove(stored.id))));
              setAsking(false);
            } catch (failure) {
              tell(failure);
              throw failure;
            }
          }}
        />
      )}
    </div>
  );
}

interface DownloadingProps {
  title: string;
  download: Download;
  actions: ModelsActions;
}

function Downloading({ title, download, actions }: DownloadingProps) {
  const said = words.value.models;
  const { name, state, progress, error } = download;
  const isOnItsWay = state === "running" || state === "waiting";
  return (
    <div class="model-downloading">
      <p class="models-aside">
        {state === "waiting"
          ? said.waiting
          : state === "paused"
            ? said.paused
            : (error ?? progressText(progress))}
      </p>
      <div class="buttons">
        <button
          class="quiet"
          type="button"
          aria-label={isOnItsWay ? said.pauseOf(title) : said.resumeOf(title)}
          onClick={() => {
            (isOnItsWay ? actions.pause : actions.resume)(name);
          }}
        >
          {isOnItsWay ? said.pause : state === "failed" ? said.again : said.resume}
        </button>
        <button
          class="quiet"
          type="button"
          aria-label={said.cancelOf(title)}
          onClick={() => {
            void actions.cancel(name);
          }}
        >
          {said.cancel}
        </button>
      </div>
    </div>
  );
}

/** Call back once the element comes near the screen. */
function useSeen(element: { readonly current: HTMLElement | null }, onSeen: () => void): void {
  const seen = useRef(onSeen);
  seen.current = onSeen;
  useEffect(() => {
    const { current } = element;
    if (current === null) {
      return undefined;
    }
    if (typeof IntersectionObserver === "undefined") {
      seen.current();
      return undefined;
    }
    const observer = new IntersectionObserver(
      (entries) => {
        if (entries.some(({ isIntersecting }) => isIntersecting)) {
          seen.current();
        }
      },
      { rootMargin: "120px" },
    );
    observer.observe(current);
    return () => {
      observer.disconnect();
    };
  }, [element]);
}
