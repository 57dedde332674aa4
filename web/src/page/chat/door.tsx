/**
 * What stands where the conversation will be: a choice, loading, welcome, or what went wrong.
 *
 * The fanlight fills with light as the model comes in.
 */
import type { ComponentChildren } from "preact";

import { TransomError } from "../../errors.ts";
import type { Fit, LoadProgress, LoadReport } from "../../protocol.ts";
import { decide } from "../../sw/decision.ts";
import type { Choice, Desk } from "../desk.ts";
import { errorText, thrownText } from "../error-text.ts";
import { formatBytes, formatSeconds } from "../format.ts";
import { words } from "../i18n/words.ts";
import { describePlace } from "../place-text.ts";

/** Seven panes of an arc, and the hub. */
const PANES = [
  "M42.04 60.70L8.02 60.70A56 56 0 0 1 13.00 38.88L43.65 53.64A22 22 0 0 0 42.04 60.70Z",
  "M44.78 51.30L14.12 36.54A56 56 0 0 1 28.08 19.04L49.29 45.64A22 22 0 0 0 44.78 51.30Z",
  "M51.32 44.02L30.11 17.42A56 56 0 0 1 50.27 7.71L57.85 40.88A22 22 0 0 0 51.32 44.02Z",
  "M60.38 40.30L52.81 7.13A56 56 0 0 1 75.19 7.13L67.62 40.30A22 22 0 0 0 60.38 40.30Z",
  "M70.15 40.88L77.73 7.71A56 56 0 0 1 97.89 17.42L76.68 44.02A22 22 0 0 0 70.15 40.88Z",
  "M78.71 45.64L99.92 19.04A56 56 0 0 1 113.88 36.54L83.22 51.30A22 22 0 0 0 78.71 45.64Z",
  "M84.35 53.64L115.00 38.88A56 56 0 0 1 119.98 60.70L85.96 60.70A22 22 0 0 0 84.35 53.64Z",
  "M46 62A18 18 0 0 1 82 62Z",
];

export interface DoorProps {
  desk: Desk;
  onSuggestion: (text: string) => void;
  /** Below the choice: what else one can do about models. */
  children?: ComponentChildren;
}

export function Door({ desk, onSuggestion, children }: DoorProps) {
  const failure = desk.failure.value;
  const opened = desk.opened.value;
  const choice = desk.choice.value;
  if (failure !== null) {
    return <Notice desk={desk} failure={failure} />;
  }
  if (opened !== null) {
    return opened.engine === "server" ? (
      <ServerReady desk={desk} model={opened.model} onSuggestion={onSuggestion} />
    ) : (
      <Ready report={opened} isElsewhere={opened.isInAnotherTab} onSuggestion={onSuggestion} />
    );
  }
  if (choice !== null) {
    return <Choosing choice={choice}>{children}</Choosing>;
  }
  const progress = desk.progress.value;
  return <Loading model={desk.name.value} progress={progress} mayTurn={mayTurn(desk)} />;
}

function mayTurn(desk: Desk): boolean {
  return decide(desk.place.value).mayTurn;
}

export function Frame(props: {
  form: "" | "is-ready" | "is-warning";
  light: number;
  title: string;
  text: string;
  choices?: ComponentChildren[];
  children?: ComponentChildren;
}) {
  const { form, light, title, text, choices = [], children } = props;
  return (
    <section class={`door ${form}`} id="door" aria-labelledby="door-title">
      <Fanlight light={light} />
      <h2 id="door-title">{title}</h2>
      <p class="door-text" id="door-text">
        {text}
      </p>
      {children}
      {choices.length > 0 && (
        <ul class="choices" id="choices">
          {choices.map((each, index) => (
            <li key={index}>{each}</li>
          ))}
        </ul>
      )}
    </section>
  );
}

function Fanlight({ light }: { light: number }) {
  return (
    <svg class="fanlight" viewBox="0 0 128 66" aria-hidden="true">
      {PANES.map((path, index) => (
        <path
          key={path}
          class={light >= (index + 1) / PANES.length ? "pane is-lit" : "pane"}
          d={path}
        />
      ))}
      <path class="sill" d="M2 64.5H126" />
    </svg>
  );
}

function Loading(props: { model: string; progress: LoadProgress | null; mayTurn: boolean }) {
  const { model, progress } = props;
  const { door } = words.value.chat;
  const text = props.mayTurn ? door.runsHereOrThere(model, location.host) : door.runsHere(model);
  if (progress === null) {
    return <Frame form="" light={0} title="Transom" text={model === "" ? "" : text} />;
  }
  const fraction = fractionOf(progress);
  const bytes =
    progress.phase === "pipelines"
      ? door.pipelinesDone(Math.round(progress.pipelineFraction * 100))
      : progress.totalBytes === 0
        ? ""
        : door.bytesDone(formatBytes(progress.doneBytes), formatBytes(progress.totalBytes));
  return (
    <Frame form="" light={fraction} title={door[progress.phase]} text={text}>
      <div class="loading">
        <progress id="load-bar" max={1} value={fraction} aria-labelledby="door-title" />
        <p class="figures">
          <span>{bytes}</span>
          <span>{rateText(progress)}</span>
        </p>
        <p class="figures">{progress.fit === null ? "" : describeFit(progress.fit)}</p>
      </div>
    </Frame>
  );
}

function Ready(props: {
  report: LoadReport;
  isElsewhere: boolean;
  onSuggestion: (text: string) => void;
}) {
  const { report, isElsewhere, onSuggestion } = props;
  const { door } = words.value.chat;
  if (report.task === "embedding") {
    return (
      <Frame form="is-ready" light={1} title={door.doesNotChat(report.model)} text={door.encoder} />
    );
  }
  const { bytesDownloaded, loadSeconds, licenses } = report;
  const origin =
    bytesDownloaded === 0 ? door.allFromDevice : door.downloaded(formatBytes(bytesDownloaded));
  const say = isElsewhere ? door.loadedElsewhere : door.loaded;
  const text = [
    say(formatSeconds(loadSeconds), origin),
    ...keepingText(report),
    ...(licenses === null ? [] : [door.licence(licenses)]),
  ].join(" ");
  return (
    <Frame
      form="is-ready"
      light={1}
      title={door.isReady(report.model)}
      text={text}
      choices={suggestions(onSuggestion)}
    />
  );
}

/** Nothing was loaded: what is written leaves this device, and that is said first. */
function ServerReady(props: { desk: Desk; model: string; onSuggestion: (text: string) => void }) {
  const { desk, model, onSuggestion } = props;
  const { door } = words.value.chat;
  const place = describePlace(desk.situation());
  const text = [
    door.answersFrom(place.charAt(0).toLowerCase() + place.slice(1)),
    door.writtenGoes(location.host),
  ].join(" ");
  return (
    <Frame
      form="is-ready"
      light={1}
      title={door.isReadyThere(model)}
      text={text}
      choices={[...suggestions(onSuggestion), ...forcing(desk)]}
    />
  );
}

/** A dead end with its reason, and ways on. */
function Notice({ desk, failure }: { desk: Desk; failure: unknown }) {
  const { door, tryAgain } = words.value.chat;
  const code = failure instanceof TransomError ? failure.code : "internal";
  return (
    <Frame
      form="is-warning"
      light={0}
      title={door.headlines[code] ?? door.failed}
      text={thrownText(failure)}
      choices={[
        ...forcing(desk),
        <a href={location.href}>{tryAgain}</a>,
        <a href={location.pathname}>{door.chooseOther}</a>,
      ]}
    />
  );
}

/** The start without a model: not a mistake, only a choice to make. */
function Choosing({ choice, children }: { choice: Choice; children: ComponentChildren }) {
  const { door } = words.value.chat;
  const { offers, from } = choice;
  const isEmpty = offers.length === 0;
  const text = isEmpty ? door.compileOne : from === "server" ? door.onServer : door.inBrowser;
  return (
    <>
      <Frame
        form=""
        light={0}
        title={isEmpty ? door.noModelYet : door.choose}
        text={text}
        choices={offers.map(({ name, address }) => (
          <a href={address}>{name}</a>
        ))}
      />
      {children}
    </>
  );
}

function suggestions(onSuggestion: (text: string) => void): ComponentChildren[] {
  return words.value.chat.door.suggestions.map((text) => (
    <button
      type="button"
      onClick={() => {
        onSuggestion(text);
      }}
    >
      {text}
    </button>
  ));
}

/** Where only an estimate speaks against the model: the visitor may know better. */
function forcing(desk: Desk): ComponentChildren[] {
  const address = desk.forcingAddress();
  return address === null ? [] : [<a href={address}>{words.value.chat.door.loadAllTheSame}</a>];
}

/** What the next visit will find; nothing where it is as anybody would think. */
function keepingText({ isKept, isOffline, removed }: LoadReport): string[] {
  const { door } = words.value.chat;
  if (isOffline) {
    return [door.offline];
  }
  if (!isKept) {
    return [door.notKept];
  }
  return removed.length === 0 ? [] : [door.madeRoom(removed.length)];
}

function fractionOf({ phase, doneBytes, totalBytes, pipelineFraction }: LoadProgress): number {
  if (phase === "ready") {
    return 1;
  }
  if (phase === "pipelines") {
    return pipelineFraction;
  }
  return totalBytes === 0 ? 0 : doneBytes / totalBytes;
}

function rateText({
  phase,
  bytesPerSecond,
  secondsLeft,
  bytesFromCache,
  doneBytes,
}: LoadProgress): string {
  const { door } = words.value.chat;
  if (phase === "pipelines") {
    return "";
  }
  if (bytesPerSecond > 0 && secondsLeft !== null) {
    return door.rate(formatBytes(bytesPerSecond), formatSeconds(secondsLeft));
  }
  return doneBytes > 0 && bytesFromCache === doneBytes ? door.fromDevice : "";
}

/** What is still to come, what memory it takes, and what speaks against it. */
function describeFit({ downloadBytes, storedBytes, gpuBytes, problems }: Fit): string {
  const { door } = words.value.chat;
  const coming =
    downloadBytes === 0
      ? door.fitHere(formatBytes(storedBytes))
      : storedBytes === 0
        ? door.fitComing(formatBytes(downloadBytes))
        : door.fitBoth(formatBytes(downloadBytes), formatBytes(storedBytes));
  const warnings = problems.map(errorText);
  return [coming, door.fitMemory(formatBytes(gpuBytes)), ...warnings].join(" ");
}
