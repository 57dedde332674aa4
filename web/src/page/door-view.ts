/**
 * What stands where the conversation will be: loading, welcome, or what went wrong.
 *
 * The fanlight fills with light as the model comes in.
 */
import type { LoadProgress, LoadReport } from "../protocol.ts";
import { byId, make } from "./dom.ts";
import { formatBytes, formatSeconds } from "./format.ts";
import { describeFit } from "./storage-text.ts";

const SUGGESTIONS = [
  "What is the capital of France?",
  "Explain in two sentences why the sky is blue.",
  "Write a haiku about a window.",
];

const PHASE_TEXT: Record<LoadProgress["phase"], string> = {
  adapter: "Looking for the graphics adapter",
  manifest: "Reading the model's manifest",
  library: "Starting the model's program",
  weights: "Bringing in the model",
  pipelines: "Building GPU pipelines",
  ready: "Ready",
};

const door = byId("door", HTMLElement);
const title = byId("door-title", HTMLHeadingElement);
const text = byId("door-text", HTMLParagraphElement);
const loading = byId("loading", HTMLDivElement);
const bar = byId("load-bar", HTMLProgressElement);
const bytes = byId("load-bytes", HTMLSpanElement);
const rate = byId("load-rate", HTMLSpanElement);
const fitLine = byId("load-fit", HTMLParagraphElement);
const choices = byId("choices", HTMLUListElement);
const panes = [...byId("fanlight", SVGSVGElement).querySelectorAll(".pane")];

export function showLoading(model: string, progress: LoadProgress): void {
  door.classList.remove("is-warning", "is-ready");
  loading.hidden = false;
  title.textContent = PHASE_TEXT[progress.phase];
  text.textContent = `${model} runs in this browser. Nothing you write leaves this device.`;
  fitLine.textContent = progress.fit === null ? "" : describeFit(progress.fit);
  const fraction = fractionOf(progress);
  bar.value = fraction;
  light(fraction);
  if (progress.phase === "pipelines") {
    bytes.textContent = `${Math.round(progress.pipelineFraction * 100)} % of the pipelines`;
    rate.textContent = "";
    return;
  }
  bytes.textContent =
    progress.totalBytes === 0
      ? ""
      : `${formatBytes(progress.doneBytes)} of ${formatBytes(progress.totalBytes)}`;
  rate.textContent = rateText(progress);
}

export function showReady(report: LoadReport, onSuggestion: (text: string) => void): void {
  const { model, bytesDownloaded, loadSeconds, licenses } = report;
  door.classList.remove("is-warning");
  door.classList.add("is-ready");
  loading.hidden = true;
  light(1);
  const origin =
    bytesDownloaded === 0 ? "all from this device" : `${formatBytes(bytesDownloaded)} downloaded`;
  title.textContent = `${model} is ready`;
  text.textContent =
    `Loaded in ${formatSeconds(loadSeconds)}, ${origin}.` +
    keepingText(report) +
    (licenses === null ? "" : ` Licence: ${licenses}.`);
  const buttons = SUGGESTIONS.map((suggestion) => {
    const button = make("button", "", suggestion);
    button.type = "button";
    button.addEventListener("click", () => {
      onSuggestion(suggestion);
    });
    return button;
  });
  offer(buttons);
}

/** What the next visit will find; nothing where it is as anybody would think. */
function keepingText({ isKept, removed }: LoadReport): string {
  if (!isKept) {
    return " This browser has no room to keep it: the next visit downloads it again.";
  }
  const count = removed.length;
  return count === 0
    ? ""
    : ` ${count} unused ${count === 1 ? "model" : "models"} made room for it.`;
}

/** An embedding model: all is well, but there is nothing to type. */
export function showEncoder(model: string): void {
  door.classList.remove("is-warning");
  door.classList.add("is-ready");
  loading.hidden = true;
  light(1);
  title.textContent = `${model} does not chat`;
  text.textContent =
    "It is an embedding model: it turns texts into vectors for search and comparison, " +
    "and programs ask it on this page with window.transom.embed(texts).";
  offer([]);
}

/** A dead end with its reason, and ways on. */
export function showNotice(headline: string, message: string, links: HTMLAnchorElement[]): void {
  door.hidden = false;
  door.classList.remove("is-ready");
  door.classList.add("is-warning");
  loading.hidden = true;
  light(0);
  title.textContent = headline;
  text.textContent = message;
  offer(links);
}

/** The start without a model: not a mistake, only a choice to make. */
export function showChoice(models: readonly string[]): void {
  door.classList.remove("is-warning", "is-ready");
  loading.hidden = true;
  light(0);
  title.textContent = models.length > 0 ? "Choose a model" : "No model yet";
  text.textContent =
    models.length > 0
      ? "These are on this server. They run in your browser, on this device."
      : 'Compile one with "transom compile FILE.gguf --name NAME", then open this page with ?model=NAME.';
  offer(
    models.map((model) => {
      const link = make("a", "", model);
      link.href = `?model=${encodeURIComponent(model)}`;
      return link;
    }),
  );
}

export function hideDoor(isHidden: boolean): void {
  door.hidden = isHidden;
}

function offer(elements: readonly HTMLElement[]): void {
  choices.replaceChildren(
    ...elements.map((element) => {
      const item = make("li", "");
      item.append(element);
      return item;
    }),
  );
}

function light(fraction: number): void {
  for (const [index, pane] of panes.entries()) {
    pane.classList.toggle("is-lit", fraction >= (index + 1) / panes.length);
  }
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

function rateText({ bytesPerSecond, secondsLeft, bytesFromCache, doneBytes }: LoadProgress) {
  if (bytesPerSecond > 0 && secondsLeft !== null) {
    return `${formatBytes(bytesPerSecond)}/s, ${formatSeconds(secondsLeft)} left`;
  }
  return doneBytes > 0 && bytesFromCache === doneBytes ? "from this device" : "";
}
