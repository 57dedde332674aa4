/** The line under the composer: which machine answers, how, and how fast. */
import type { AdapterReport, LoadReport } from "../protocol.ts";
import { byId, make } from "./dom.ts";
import { formatRate } from "./format.ts";

const status = byId("status", HTMLDListElement);
const values = new Map<string, HTMLElement>();

export function showMachine(report: LoadReport): void {
  const { adapter, processor, computeDtype, schedule } = report;
  if (adapter !== null) {
    put("Adapter", adapterName(adapter));
  }
  if (computeDtype !== null) {
    put("Compute", `${computeDtype}${schedule === "fallback" ? ", fallback" : ""}`);
  }
  if (processor !== null) {
    const { reason, threads } = processor;
    put("Runs on", `${reason === null ? "the" : `${reason}: running on the`} processor`);
    put("Compute", `llama.cpp, ${threads} ${threads === 1 ? "thread" : "threads"}`);
  }
}

/** @param tokensPerSecond 0 hides nothing: the last figure stays until there is a new one. */
export function showSpeed(tokensPerSecond: number): void {
  if (tokensPerSecond > 0) {
    put("Speed", formatRate(tokensPerSecond));
  }
}

export function showContext(usedTokens: number, contextWindowSize: number): void {
  put("Context", `${usedTokens} of ${contextWindowSize}`);
}

/** The engine died and is being started again; an answer on its way waits. */
export function showRevival(isOver: boolean): void {
  const text = isOver ? "started again" : "lost the graphics adapter, loading again";
  put("Engine", text);
  byId("announcer", HTMLParagraphElement).textContent = `The engine ${text}.`;
}

/** The adapter in words; browsers often hide the description. */
function adapterName({ vendor, architecture, description, isFallback }: AdapterReport): string {
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed";
  return isFallback ? `${name} (on the CPU)` : name;
}

function put(label: string, text: string): void {
  let value = values.get(label);
  if (value === undefined) {
    value = make("dd", "");
    const group = document.createElement("div");
    group.append(make("dt", "", label), value);
    status.append(group);
    values.set(label, value);
  }
  value.textContent = text;
}
