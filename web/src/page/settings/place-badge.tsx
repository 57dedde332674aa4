/**
 * Where answers come from, always to be seen; with the machine's facts one press away, and the choice
 * by hand.
 */
import { useId, useRef, useState } from "preact/hooks";

import type { Place } from "../../api-protocol.ts";
import type { AnswerFigures } from "../../chat/types.ts";
import type { AdapterReport, LoadReport } from "../../protocol.ts";
import { formatBytes, formatDelay, formatRate } from "../format.ts";
import { words } from "../i18n/words.ts";
import { type Situation, describePlace, placeNow, processorText } from "../place-text.ts";
import { useAnchored } from "../ui/anchored.ts";
import { Icon } from "../ui/icon.tsx";
import { ContextRing } from "./context-meter.tsx";
import "./settings.css";

/** What the engine is at, apart from answering. */
export type EngineTask = "" | "lost" | "again" | "taking-over";

export interface PlaceBadgeProps {
  situation: Situation;
  /** Of the model that this browser runs; null: the server does, or none is loaded. */
  report: LoadReport | null;
  task: EngineTask;
  /** Of the last answer; null before the first. */
  figures: Pick<
    AnswerFigures,
    | "promptTokens"
    | "cachedTokens"
    | "completionTokens"
    | "timeToFirstTokenSeconds"
    | "decodeTokensPerSecond"
  > | null;
  /** While an answer comes: its tokens per second so far; null: none comes. */
  liveTokensPerSecond: number | null;
  /** Tokens of the context window; 0: not known. */
  contextSize: number;
  /** `location.host` of the page. */
  host: string;
  onWanted: (wanted: Place["wanted"]) => void;
}

export function PlaceBadge(props: PlaceBadgeProps) {
  const { situation, figures, contextSize } = props;
  const { place: said } = words.value;
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const panelId = useId();
  const now = placeNow(situation);
  const dtype = props.report?.computeDtype ?? null;
  const short = [said.short[now], ...(now === "gpu" && dtype !== null ? [shortType(dtype)] : [])];
  const rate = props.liveTokensPerSecond ?? figures?.decodeTokensPerSecond ?? 0;
  const used = figures === null ? 0 : figures.promptTokens + figures.completionTokens;
  return (
    <div class="place">
      <button
        ref={button}
        class={`place-button is-${now}`}
        type="button"
        aria-expanded={isOpen}
        aria-controls={panelId}
        onClick={() => {
          setOpen(!isOpen);
        }}
      >
        <Icon name={now === "server" ? "server" : "chip"} />
        <span class="hidden">{said.details}, </span>
        <span>{short.join(" · ")}</span>
        {rate > 0 && (
          // A name that changes with each token is none; the rate is in the panel.
          <span
            class={props.liveTokensPerSecond === null ? "place-rate" : "place-rate is-live"}
            aria-hidden="true"
          >
            {formatRate(rate)}
          </span>
        )}
      </button>
      {used > 0 && contextSize > 0 && <ContextRing used={used} size={contextSize} />}
      <span class="place-choice">
        <PlaceChoice {...props} />
      </span>
      <p class="place-text" id="place-text" role="status">
        {describePlace(situation)}.
      </p>
      <PlacePanel
        {...props}
        id={panelId}
        isOpen={isOpen}
        anchor={button}
        onClose={() => {
          setOpen(false);
        }}
      />
    </div>
  );
}

/** The choice by hand. */
export function PlaceChoice({
  situation,
  onWanted,
}: Pick<PlaceBadgeProps, "situation" | "onWanted">) {
  const { place: said } = words.value;
  const { wanted, hasServer } = situation.place;
  return (
    <>
      <label for="place-wanted">{said.answersFrom}</label>
      <select
        id="place-wanted"
        aria-describedby="place-text"
        value={wanted}
        onChange={({ currentTarget: { value } }) => {
          if (value === "auto" || value === "browser" || value === "server") {
            onWanted(value);
          }
        }}
      >
        <option value="auto">{said.automatic}</option>
        <option value="browser">{said.thisBrowser}</option>
        <option value="server" disabled={!hasServer && wanted !== "server"}>
          {hasServer ? said.theServer : said.theServerMissing}
        </option>
      </select>
    </>
  );
}

interface PlacePanelProps extends PlaceBadgeProps {
  id: string;
  isOpen: boolean;
  anchor: { readonly current: HTMLButtonElement | null };
  onClose: () => void;
}

/** The facts are on the page also while they do not show: programs read them. */
function PlacePanel(props: PlacePanelProps) {
  const panel = useRef<HTMLDivElement>(null);
  return (
    <div
      ref={panel}
      id={props.id}
      class="popup place-panel"
      role="group"
      aria-label={words.value.place.details}
      popover="auto"
      hidden={!props.isOpen}
    >
      {props.isOpen && <Anchored floating={panel} anchor={props.anchor} onClose={props.onClose} />}
      {/* In full: below the composer of a phone it may be cut. */}
      {props.isOpen && <p class="place-why">{describePlace(props.situation)}.</p>}
      <dl class="status" id="status">
        {factsOf(props).map(([label, text]) => (
          <div key={label}>
            <dt>{label}</dt>
            <dd>{text}</dd>
          </div>
        ))}
      </dl>
    </div>
  );
}

/** Nothing to see: while it is there, the panel is beside its button. */
function Anchored(props: {
  floating: { readonly current: HTMLElement | null };
  anchor: { readonly current: HTMLButtonElement | null };
  onClose: () => void;
}) {
  useAnchored(props.floating, props.anchor, props.onClose);
  return null;
}

/** What is known of the machine and of the last answer, in the order of how much it matters. */
export function factsOf(props: PlaceBadgeProps): (readonly [label: string, text: string])[] {
  const { report, task, figures, liveTokensPerSecond, contextSize, situation, host } = props;
  const { facts } = words.value.place;
  const tasks = {
    lost: facts.engineLost,
    again: facts.engineAgain,
    "taking-over": facts.engineTakingOver,
  };
  const rate = liveTokensPerSecond ?? figures?.decodeTokensPerSecond ?? 0;
  const used = figures === null ? 0 : figures.promptTokens + figures.completionTokens;
  return [
    ...(placeNow(situation) === "server" ? [[facts.host, host] as const] : []),
    ...machineFacts(report),
    ...(task === "" ? [] : [[facts.engine, tasks[task]] as const]),
    ...(rate > 0 ? [[facts.speed, formatRate(rate)] as const] : []),
    ...(figures !== null && figures.timeToFirstTokenSeconds > 0
      ? [[facts.first, facts.firstAfter(formatDelay(figures.timeToFirstTokenSeconds))] as const]
      : []),
    ...(figures !== null && figures.promptTokens > 0
      ? [[facts.prompt, facts.promptOf(figures.promptTokens, figures.cachedTokens)] as const]
      : []),
    ...(used > 0 && contextSize > 0
      ? [[facts.context, facts.contextOf(used, contextSize)] as const]
      : []),
  ];
}

function machineFacts(report: LoadReport | null): (readonly [string, string])[] {
  const { facts } = words.value.place;
  if (report === null) {
    return [];
  }
  const { adapter, computeDtype, schedule, processor, gpuBytes } = report;
  const type = computeDtype ?? "";
  const why = processorText(processor);
  return [
    ...(adapter === null
      ? []
      : [
          [facts.adapter, adapterName(adapter)] as const,
          [facts.f16, adapter.hasShaderF16 ? facts.yes : facts.no] as const,
        ]),
    ...(computeDtype === null
      ? []
      : [[facts.compute, schedule === "fallback" ? facts.fallback(type) : type] as const]),
    ...(processor === null
      ? []
      : [
          [facts.runsOn, why === null ? facts.theProcessor : facts.processorBecause(why)] as const,
          [facts.compute, facts.threads(processor.threads)] as const,
        ]),
    ...(adapter !== null && gpuBytes > 0
      ? [[facts.memory, facts.memoryOf(formatBytes(gpuBytes))] as const]
      : []),
  ];
}

/** The adapter in words; browsers often hide the description. */
function adapterName({ vendor, architecture, description, isFallback }: AdapterReport): string {
  const { facts } = words.value.place;
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || facts.unnamed;
  return isFallback ? facts.onCpu(name) : name;
}

/** "float16" -> "f16" */
function shortType(dtype: string): string {
  return dtype.replace(/^float/, "f");
}
