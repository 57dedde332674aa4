/** Where answers come from, and why from there, in the person's words. No DOM. */
import type { Place } from "../api-protocol.ts";
import type { WireError } from "../errors.ts";
import type { EngineKind, ProcessorReport } from "../protocol.ts";
import { decide } from "../sw/decision.ts";
import { briefly, entry } from "./error-text.ts";
import { words } from "./i18n/words.ts";

/** Who gave an answer, and why they: in words of the service worker, or "", and as its code. */
export interface Answered {
  place: "browser" | "server";
  why: string;
  code?: string | undefined;
}

export interface Situation {
  place: Place;
  /** Whether this browser knows WebGPU at all; then it lacks the adapter. */
  knowsWebGpu: boolean;
  /** What runs the model in this browser; null before one is loaded. */
  engine: EngineKind | null;
  /** Why the processor does; null where it does not. */
  processor: Pick<ProcessorReport, "reason" | "code"> | null;
  /** Another tab of this page runs it. */
  isInAnotherTab: boolean;
  /** Why this browser cannot run the model, so that the server does; null where it can. */
  failure: WireError | null;
  /** Who gave the last answer; null before the first. */
  answered: Answered | null;
}

/** "The server at this address, because this browser has no WebGPU" */
export function describePlace(situation: Situation): string {
  const { place: said } = words.value;
  const { place, answered, failure } = situation;
  const { where } = decide(place);
  if (answered !== null && answered.place !== where && answered.why !== "") {
    const who = answered.place === "server" ? said.server : said.browser;
    return said.because(who, reasonInWords(answered));
  }
  if (where === "server") {
    return place.wanted === "server"
      ? said.chosen(said.server)
      : said.serverForLack(lackOf(situation));
  }
  return failure === null ? describeBrowser(situation) : said.serverForFailure(clauseOf(failure));
}

/** Under an answer: who gave it, where that is worth a word; null where it is as anybody thinks. */
export function describeServedBy(served: Answered, place: Place): string | null {
  const { place: said } = words.value;
  const isExpected = served.place === decide(place).where;
  if (isExpected && served.place === "browser") {
    return null;
  }
  const who = served.place === "server" ? said.fromServer : said.fromBrowser;
  return isExpected || served.why === "" ? who : said.because(who, reasonInWords(served));
}

/** Where answers come from at present: for a few words and a picture. */
export function placeNow({
  place,
  engine,
  failure,
  answered,
}: Situation): "gpu" | "cpu" | "server" {
  const { where } = decide(place);
  if ((answered?.place ?? (failure === null ? where : "server")) === "server") {
    return "server";
  }
  return engine === "cpu" || (engine === null && !place.hasWebGpu) ? "cpu" : "gpu";
}

function describeBrowser(situation: Situation): string {
  const { place: said } = words.value;
  const { place, engine, processor, isInAnotherTab } = situation;
  const isOnProcessor = engine === "cpu" || (engine === null && !place.hasWebGpu);
  const what = isOnProcessor ? said.processor : said.adapter;
  const where = isInAnotherTab ? said.inAnotherTab(what) : what;
  const who = place.wanted === "browser" ? said.chosen(where) : where;
  const reason = reasonOf(situation, isOnProcessor ? processorText(processor) : null);
  return reason === null ? who : said.reason(who, reason);
}

function reasonOf(situation: Situation, processorReason: string | null): string | null {
  const { place: said } = words.value;
  const { place, engine } = situation;
  const lacks = [
    ...(place.hasWebGpu || engine === "webgpu" ? [] : [lackOf(situation)]),
    ...(place.hasServer || place.wanted === "browser" ? [] : [said.noServer]),
  ];
  if (place.wanted === "server") {
    return said.thereIs(lacks);
  }
  if (place.hasWebGpu) {
    return processorReason;
  }
  return lacks.length === 0 ? null : said.thereIs(lacks);
}

function lackOf({ knowsWebGpu }: Situation): string {
  const { place: said } = words.value;
  return knowsWebGpu ? said.noAdapter : said.noWebGpu;
}

/** Why a model is on the processor; null where nobody said, or it was asked for. */
export function processorText(
  processor: Pick<ProcessorReport, "reason" | "code"> | null,
): string | null {
  return processor === null ? null : (briefly(processor.code) ?? processor.reason);
}

/** The service worker says its reasons in English, whatever language a page has; its codes are for all. */
function reasonInWords({ why, code = "" }: Answered): string {
  const { place, reasons } = words.value;
  const [first = "", error = ""] = code.split(" ");
  const failure = briefly(error);
  return first === "cannot" && failure !== null
    ? place.cannot(failure)
    : (entry(reasons.place, first) ?? briefly(first) ?? why);
}

function clauseOf(failure: WireError): string {
  return briefly(failure.code) ?? asClause(failure.message);
}

/** A sentence as the rest of another one; names in capitals stay. */
function asClause(sentence: string): string {
  const [first = "", second = ""] = sentence;
  const isWord = second === second.toLowerCase();
  return (isWord ? first.toLowerCase() : first) + sentence.slice(1).replace(/\.$/, "");
}
