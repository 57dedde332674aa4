/** How much of the context window a conversation takes, and what can be done when it is full. */
import { useId } from "preact/hooks";

import { formatWhole } from "../format.ts";
import { words } from "../i18n/words.ts";
import "./settings.css";

/** From here on it is said in words: what is left may not hold an answer. */
const NEARLY = 0.85;

export interface ContextMeterProps {
  /** Tokens of the conversation, as last counted. */
  used: number;
  /** Tokens of the context window; 0: not known, and nothing shows. */
  size: number;
  /** Tokens of what is being written; 0 where nobody counted. */
  draft?: number;
  onDropOldest: () => void;
  onNewChat: () => void;
}

export type Fullness = "fits" | "nearly" | "draft" | "full";

export function fullnessOf(used: number, size: number, draft: number): Fullness {
  if (used >= size) {
    return "full";
  }
  if (used + draft >= size) {
    return "draft";
  }
  return used + draft >= NEARLY * size ? "nearly" : "fits";
}

/** From 85 % on: how full it is, in words, and ways on. Below, the ring of `PlaceBadge` is enough. */
export function ContextMeter({ used, size, draft = 0, ...actions }: ContextMeterProps) {
  const { meter } = words.value.place;
  const fullness = size <= 0 ? "fits" : fullnessOf(used, size, draft);
  if (fullness === "fits") {
    return null;
  }
  const said = { nearly: meter.nearly, draft: meter.withDraft, full: meter.full }[fullness];
  return (
    <div class={`context-meter note ${fullness === "nearly" ? "is-notice" : "is-warning"}`}>
      <p role="status">
        {said} {meter.nothingCut}
        <small>{describeUse(used + draft, size)}</small>
      </p>
      <div class="buttons">
        {fullness !== "nearly" && (
          <button class="quiet" type="button" onClick={actions.onDropOldest}>
            {meter.dropOldest}
          </button>
        )}
        <button class="quiet" type="button" onClick={actions.onNewChat}>
          {meter.newChat}
        </button>
      </div>
    </div>
  );
}

/** "3,600 of 4,096 tokens of the context window, 88 %" */
function describeUse(used: number, size: number): string {
  const percent = Math.round((used / size) * 100);
  return words.value.place.meter.used(formatWhole(used), formatWhole(size), percent);
}

/** A ring and a percentage. */
export function ContextRing({ used, size }: Pick<ContextMeterProps, "used" | "size">) {
  const { meter } = words.value.place;
  const id = useId();
  const fraction = Math.min(1, used / size);
  const percent = Math.round(fraction * 100);
  const text = describeUse(used, size);
  const look = fraction >= 1 ? "is-full" : fraction >= NEARLY ? "is-nearly" : "";
  return (
    <span
      class={`context-ring ${look}`}
      role="meter"
      aria-labelledby={id}
      aria-valuemin={0}
      aria-valuemax={size}
      aria-valuenow={Math.min(used, size)}
      aria-valuetext={text}
      title={text}
    >
      <svg viewBox="0 0 20 20" aria-hidden="true">
        <circle cx="10" cy="10" r="7.5" />
        {/* 100 of its length are the whole. */}
        <circle
          class="context-arc"
          cx="10"
          cy="10"
          r="7.5"
          pathLength={100}
          stroke-dasharray={`${percent} 100`}
        />
      </svg>
      <span id={id} class="hidden">
        {meter.label}
      </span>
      <span aria-hidden="true">{meter.percent(percent)}</span>
    </span>
  );
}
