/** Facts about models as sentences, in the person's language. Components read them while they render. */
import type { ModelCard, Reason, RunningPlace, Speed } from "../../client/model-cards.ts";
import type { WrongPaste } from "../../client/pull-name.ts";
import type { Fit, LoadProgress, Storage, StoredModel } from "../../protocol.ts";
import { formatBytes, formatRate, formatSeconds, formatWhole } from "../format.ts";
import { language, words } from "../i18n/words.ts";
import type { Task } from "./models-types.ts";

/** First strong isolate, and its end: a figure with its unit stays as it is in a line that runs the other way. */
const ISOLATE = ["\u2068", "\u2069"] as const;
/** Between a figure and its unit no line ends. */
const NO_BREAK = "\u00a0";
const DAY_MS = 24 * 60 * 60 * 1000;

/** "98.0 MB" */
export function bytesText(bytes: number): string {
  return isolated(formatBytes(bytes).replace(" ", NO_BREAK));
}

function isolated(text: string): string {
  return language.value === "ar" ? ISOLATE.join(text) : text;
}

export function placeName({ where }: RunningPlace, hostName: string): string {
  const said = words.value.models;
  return where === "server" ? said.server(hostName) : said[where];
}

export function verdictText({ verdict }: RunningPlace): string {
  const said = words.value.models;
  return verdict === "runs" ? said.runs : verdict === "forced" ? said.runsForced : said.runsNot;
}

export function reasonText(reason: Reason): string {
  const said = words.value.models;
  switch (reason.code) {
    case "f16":
      return said.f16;
    case "f32":
      return said.f32;
    case "no-variant":
      return said.noVariant;
    case "no-adapter":
      return said.noAdapter;
    case "too-small":
      return said.tooSmall;
    case "too-large":
      return said.tooLarge;
    case "slow":
      return said.slow;
    case "memory":
      return said.memory(bytesText(reason.bytes), bytesText(reason.budgetBytes));
    case "memory-short":
      return said.memoryShort(bytesText(reason.bytes), bytesText(reason.budgetBytes));
    case "no-room":
      return said.noRoom(bytesText(reason.bytes), bytesText(reason.freeBytes));
    case "said":
      return reason.message;
  }
}

/** Size, and what of it is here or shared. @param fit null: nobody asked yet. */
export function sizeText(card: ModelCard, fit: Fit | null): string {
  const said = words.value.models;
  const bytes = fit === null ? card.bytes : fit.downloadBytes + fit.storedBytes;
  if (bytes === 0) {
    return said.sizeUnknown;
  }
  const parts = [bytesText(bytes)];
  if (card.state === "stored" || card.state === "loaded") {
    const { sharedBytes = 0 } = card.stored ?? {};
    if (sharedBytes > 0) {
      parts.push(said.sharedHere(bytesText(sharedBytes)));
    }
  } else if (fit !== null && fit.storedBytes > 0) {
    parts.push(said.ofItHere(bytesText(fit.storedBytes)));
  }
  return parts.join(", ");
}

/** What was measured, else what other models let expect. */
export function speedText({ speed, expectedSpeed }: ModelCard): string {
  const said = words.value.models;
  const inWords = ({ browser, server }: Speed) =>
    [
      browser === null ? "" : said.speedBrowser(isolated(formatRate(browser))),
      server === null ? "" : said.speedServer(isolated(formatRate(server))),
    ]
      .filter(Boolean)
      .join(", ");
  const expected = inWords(expectedSpeed);
  return speed !== null
    ? inWords(speed)
    : expected === ""
      ? said.speedNone
      : said.speedExpected(expected);
}

export function stateText({ state, stored }: ModelCard, hostName: string): string {
  const said = words.value.models;
  switch (state) {
    case "loaded":
      return said.loaded;
    case "stored":
      return said.stored;
    case "partial":
      return said.partial(bytesText(stored?.storedBytes ?? 0), bytesText(stored?.totalBytes ?? 0));
    case "offered":
      return said.offered(hostName);
  }
}

export function contextText(tokens: number): string {
  return words.value.models.tokens(formatWhole(tokens));
}

/** "40 MB of 98 MB", and the rate where something comes from the network. */
export function progressText(progress: LoadProgress | null): string {
  const said = words.value.models;
  if (progress === null || progress.totalBytes === 0) {
    return said.starting;
  }
  return amountText(progress);
}

function amountText(amount: {
  doneBytes: number;
  totalBytes: number;
  bytesPerSecond: number;
  secondsLeft: number | null;
}): string {
  const said = words.value.models;
  const { doneBytes, totalBytes, bytesPerSecond, secondsLeft } = amount;
  const parts = [said.ofTotal(bytesText(doneBytes), bytesText(totalBytes))];
  if (bytesPerSecond > 0 && secondsLeft !== null) {
    parts.push(said.rate(bytesText(bytesPerSecond), isolated(formatSeconds(secondsLeft))));
  }
  return parts.join(" · ");
}

export function taskTitle({ kind, title }: Task): string {
  const said = words.value.models;
  switch (kind) {
    case "pull":
      return said.pulling(title);
    case "create":
      return said.creating(title);
    case "import":
      return said.importing(title);
    case "load":
      return said.loading(title);
  }
}

/** What it is at: the server's own word for it, bytes, and how fast they go. */
export function taskText({ phase, step, doneBytes, totalBytes, ...pace }: Task): string {
  const said = words.value.models;
  const at = phase === "hash" ? said.hashing : phase === "send" ? said.sending : step;
  const bytes =
    doneBytes === null || totalBytes === null || totalBytes === 0
      ? ""
      : amountText({ doneBytes, totalBytes, ...pace });
  return [at, bytes].filter(Boolean).join(" · ");
}

export function wrongPasteText(reason: WrongPaste): string {
  const said = words.value.models;
  switch (reason) {
    case "empty":
      return said.wrongEmpty;
    case "too-long":
      return said.wrongTooLong;
    case "no-name":
      return said.wrongNoName;
    case "no-model-file":
      return said.wrongNoModelFile;
    case "credentials":
      return said.wrongCredentials;
    case "plain-http":
      return said.wrongPlainHttp;
  }
}

// --- storage ------------------------------------------------------------------------------------

/** "2 models are kept in this browser. 215 MB of 60.0 GB are in use. Models stay until …" */
export function storageText({ models, quotaBytes, usedBytes, isPersisted }: Storage): string {
  const said = words.value.storage;
  const parts = [models.length === 0 ? said.none : said.kept(models.length)];
  if (quotaBytes !== null && usedBytes !== null) {
    parts.push(said.inUse(bytesText(usedBytes), bytesText(quotaBytes)));
  }
  if (models.length > 0) {
    parts.push(isPersisted ? said.staying : said.leaving);
  }
  return parts.join(" ");
}

/**
 * "107 MB, 35.0 MB of it shared · used today · goes first when room is needed"
 *
 * @param place in the order in which models leave, from 1; null: it stays.
 */
export function storedText(model: StoredModel, place: number | null, now: number): string {
  const said = words.value.storage;
  const { totalBytes, storedBytes, sharedBytes, lastUsed, isInUse } = model;
  const size =
    storedBytes < totalBytes
      ? said.incomplete(bytesText(storedBytes), bytesText(totalBytes))
      : sharedBytes === 0
        ? bytesText(totalBytes)
        : said.shared(bytesText(totalBytes), bytesText(sharedBytes));
  const order = place === null ? said.stays : place === 1 ? said.goesFirst : said.goesAs(place);
  return [size, isInUse ? said.beingLoaded : ageText(now - lastUsed), order].join(" · ");
}

/** What deleting it would free. */
export function freedBytes({ storedBytes, sharedBytes }: StoredModel): number {
  return Math.max(0, storedBytes - sharedBytes);
}

/** Ids of those that may leave, in the order in which they do (`store/shelf.ts`). */
export function leavingOrder(models: readonly StoredModel[]): string[] {
  return models
    .filter(({ isPinned, isInUse }) => !isPinned && !isInUse)
    .toSorted((one, other) => one.lastUsed - other.lastUsed)
    .map(({ id }) => id);
}

function ageText(milliseconds: number): string {
  const said = words.value.storage;
  const days = Math.floor(milliseconds / DAY_MS);
  return days <= 0 ? said.usedRecently : days === 1 ? said.usedYesterday : said.usedDaysAgo(days);
}
