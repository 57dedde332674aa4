/**
 * What there is to know of each model, put together for people to choose: from the catalogue, this
 * browser's storage, what is loaded, what the host tells, and how fast answers came before. Pure.
 */
import type { AnswerFigures } from "../chat/types.ts";
import type { ErrorCode } from "../errors.ts";
import type { Fit, LoadRequest, StoredModel } from "../protocol.ts";
import { type Entry, isSameSource, sourceOf } from "./catalogue.ts";
import type { LoadedModel } from "./steady-engine.ts";

/** What models do, of Ollama's words those that people look for. */
export const CAPABILITIES = ["completion", "vision", "tools", "thinking", "embedding"] as const;
export type Capability = (typeof CAPABILITIES)[number];

/** Answers that a speed is the middle one of: one of them may have been disturbed. */
const KEPT_SPEEDS = 5;
/** Models whose speeds are kept. */
const MAX_SPEEDS = 200;
/** A first line that is longer is no title. */
const MAX_TITLE_LENGTH = 60;

/** "partial": some of it is here; "offered": it is at the host alone. */
export type ModelState = "loaded" | "stored" | "partial" | "offered";

export interface ModelCard {
  /** As the API calls it. */
  name: string;
  /** As people do. */
  title: string;
  state: ModelState;
  /** 0: nobody says. */
  bytes: number;
  /** "135M", "Q4_K_M"; "" where nobody says. */
  parameters: string;
  quantization: string;
  family: string;
  /** Tokens; null where nobody says. */
  contextTokens: number | null;
  capabilities: readonly Capability[];
  /** Null: not known yet; "": nothing is stated. */
  license: string | null;
  /** The host of the page offers it, too. */
  isOffered: boolean;
  /** Null: nothing of it is here. */
  stored: StoredModel | null;
  /** GPU memory that it takes now. */
  loadedBytes: number | null;
  speed: Speed | null;
  /** Where it was not measured: judged by models that were. */
  expectedSpeed: Speed;
  request: LoadRequest;
}

/** What the host tells of one model when it is asked. */
export interface ModelFacts {
  license: string;
  licenseText: string;
  capabilities: readonly string[];
  contextTokens: number | null;
}

/** Tokens a second of answers before, in the middle; null: not measured. */
export interface Speed {
  browser: number | null;
  server: number | null;
}

/** By the API's name of a model: the last figures of each place. */
export type Speeds = Readonly<
  Record<string, { browser: readonly number[]; server: readonly number[] }>
>;

export interface CardSources {
  entries: readonly Entry[];
  stored: readonly StoredModel[];
  loaded: Iterable<LoadedModel>;
  /** By name. */
  facts: ReadonlyMap<string, ModelFacts>;
  speeds: Speeds;
}

export function cardsOf(sources: CardSources): ModelCard[] {
  const loaded = [...sources.loaded];
  const passes = passesOf(sources);
  return sources.entries.map(({ row, request, isOffered, license }): ModelCard => {
    const stored =
      sources.stored.find(({ id }) => isSameSource(sourceOf(id), request.source)) ?? null;
    const here = loaded.find((each) => isSameSource(each.request.source, request.source));
    const facts = sources.facts.get(row.name);
    const said = facts?.capabilities ?? row.capabilities;
    const { details } = row;
    return {
      name: row.name,
      title: titleOf(row.name),
      state: here !== undefined ? "loaded" : stateOf(stored),
      bytes: row.bytes,
      parameters: textOf(details["parameter_size"]),
      quantization: textOf(details["quantization_level"]),
      family: textOf(details["family"]),
      contextTokens:
        here?.report.contextWindowSize ??
        facts?.contextTokens ??
        numberOf(details["context_length"]),
      capabilities: CAPABILITIES.filter((each) => said.includes(each)),
      license: facts?.license ?? license ?? here?.report.licenses ?? null,
      isOffered,
      stored,
      loadedBytes: here?.report.gpuBytes ?? null,
      speed: speedOf(sources.speeds, row.name),
      expectedSpeed: expectedOf(passes, row.bytes),
      request,
    };
  });
}

/** Cards with all these words somewhere. */
export function search(cards: readonly ModelCard[], text: string): ModelCard[] {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return cards.filter((card) => {
    const { title, family, parameters, quantization, license, capabilities } = card;
    const all = [title, family, parameters, quantization, license ?? "", ...capabilities]
      .join(" ")
      .toLowerCase();
    return words.every((word) => all.includes(word));
  });
}

/** "library/smollm2:latest" -> "smollm2": what goes without saying goes. */
export function titleOf(name: string): string {
  return name.replace(/^library\//, "").replace(/:latest$/, "");
}

// --- where it runs ------------------------------------------------------------------------------

/** What is known of whether it fits: `message` is the engine's own sentence. */
export type Fitness =
  { kind: "fits"; fit: Fit } | { kind: "refused"; code: ErrorCode; message: string };

/** One place that may run a model, and what speaks for and against it. */
export interface RunningPlace {
  where: "gpu" | "processor" | "server";
  /** "forced": an estimate speaks against it. */
  verdict: "runs" | "forced" | "no";
  reasons: readonly Reason[];
}

export type Reason =
  | { code: "f16" | "f32" | "no-variant" | "no-adapter" | "too-small" | "slow" | "too-large" }
  | { code: "memory" | "memory-short"; bytes: number; budgetBytes: number }
  | { code: "no-room"; bytes: number; freeBytes: number }
  | { code: "said"; message: string };

/** Where a model can run, the best place first. `hasServer`: its host answers for it, too. */
export function placesOf(fitness: Fitness, hasServer: boolean): RunningPlace[] {
  const here = fitness.kind === "fits" ? placeHere(fitness.fit) : refusedHere(fitness);
  const server: RunningPlace = { where: "server", verdict: "runs", reasons: [] };
  return hasServer ? [here, server] : [here];
}

function placeHere(fit: Fit): RunningPlace {
  const { variant, gpuBytes, budgetBytes, downloadBytes, storageFreeBytes, problems } = fit;
  const isProcessor = variant === "gguf";
  const isShort = problems.some(({ code }) => code === "out-of-memory");
  const reasons: Reason[] = isProcessor
    ? [{ code: isShort ? "too-large" : "slow" }]
    : [
        { code: isShort ? "memory-short" : "memory", bytes: gpuBytes, budgetBytes },
        { code: variant === "f16" ? "f16" : "f32" },
      ];
  for (const { code, message } of problems) {
    if (code === "adapter-too-small") {
      reasons.unshift({ code: "too-small" });
    } else if (code === "no-room") {
      reasons.push(
        storageFreeBytes === null
          ? { code: "said", message }
          : { code, bytes: downloadBytes, freeBytes: storageFreeBytes },
      );
    }
  }
  const refusals = new Set(problems.map(({ refusal }) => refusal));
  return {
    where: isProcessor ? "processor" : "gpu",
    verdict: refusals.has("always") ? "no" : refusals.has("unless-forced") ? "forced" : "runs",
    reasons,
  };
}

function refusedHere({ code, message }: Fitness & { kind: "refused" }): RunningPlace {
  const reason: Reason =
    code === "no-variant" || code === "no-adapter"
      ? { code }
      : code === "no-webgpu"
        ? { code: "no-adapter" }
        : code === "adapter-too-small"
          ? { code: "too-small" }
          : { code: "said", message };
  return { where: "gpu", verdict: "no", reasons: [reason] };
}

// --- how fast -----------------------------------------------------------------------------------

/** The speeds with those of one more answer; an answer too short to measure changes nothing. */
export function withSpeed(
  speeds: Speeds,
  model: string,
  { servedBy, decodeTokensPerSecond }: Pick<AnswerFigures, "servedBy" | "decodeTokensPerSecond">,
): Speeds {
  if (!Number.isFinite(decodeTokensPerSecond) || decodeTokensPerSecond <= 0) {
    return speeds;
  }
  const { [model]: before = { browser: [], server: [] }, ...others } = speeds;
  const now = {
    ...before,
    [servedBy]: [...before[servedBy], decodeTokensPerSecond].slice(-KEPT_SPEEDS),
  };
  // The one that answered last stands last, so that the oldest go.
  const rows = [...Object.entries(others), [model, now] as const];
  return Object.fromEntries(rows.slice(-MAX_SPEEDS));
}

/** What settings have kept; whatever is no list of figures is none. */
export function readSpeeds(kept: unknown): Speeds {
  const rows = Object.entries((kept ?? {}) as Record<string, unknown>).slice(0, MAX_SPEEDS);
  return Object.fromEntries(
    rows.map(([model, row]) => {
      const { browser, server } = (row ?? {}) as Record<string, unknown>;
      return [model, { browser: figures(browser), server: figures(server) }];
    }),
  );
}

function speedOf(speeds: Speeds, model: string): Speed | null {
  const row = speeds[model];
  const speed = { browser: middle(row?.browser ?? []), server: middle(row?.server ?? []) };
  return speed.browser === null && speed.server === null ? null : speed;
}

/**
 * Bytes of weights that were read a second, in the middle of the models that answered in each place. A token reads
 * all weights once, and that is what decoding waits for, so what is true of one model nearly is of another.
 */
function passesOf({ entries, speeds }: CardSources): Speed {
  const known = entries.flatMap(({ row }) => {
    const speed = row.bytes > 0 ? speedOf(speeds, row.name) : null;
    return speed === null ? [] : [{ speed, bytes: row.bytes }];
  });
  const pass = (place: keyof Speed) =>
    middle(
      known.flatMap(({ speed, bytes }) => {
        const rate = speed[place];
        return rate === null ? [] : [rate * bytes];
      }),
    );
  return { browser: pass("browser"), server: pass("server") };
}

function expectedOf(passes: Speed, bytes: number): Speed {
  const rate = (pass: number | null) => (pass === null || bytes <= 0 ? null : pass / bytes);
  return { browser: rate(passes.browser), server: rate(passes.server) };
}

function middle(values: readonly number[]): number | null {
  return values.toSorted((one, other) => one - other)[Math.floor((values.length - 1) / 2)] ?? null;
}

function figures(value: unknown): number[] {
  return (Array.isArray(value) ? value : [])
    .filter((each): each is number => typeof each === "number" && each > 0)
    .slice(-KEPT_SPEEDS);
}

// --- licences -----------------------------------------------------------------------------------

/** Texts that begin like this, in the SPDX list's words. */
const LICENSES: readonly [RegExp, string][] = [
  [/Apache License\s+Version 2\.0/i, "Apache-2.0"],
  [/^\s*(?:The )?MIT License/i, "MIT"],
  [/Permission is hereby granted, free of charge/i, "MIT"],
  [/GNU GENERAL PUBLIC LICENSE\s+Version 3/i, "GPL-3.0"],
  [/GNU AFFERO GENERAL PUBLIC LICENSE/i, "AGPL-3.0"],
  [/Redistribution and use in source and binary forms/i, "BSD"],
];

/** A licence in few words: its id where there is one, else the title of its text; "": nothing is said. */
export function shortLicense(id: string, text: string): string {
  if (id !== "" && id.toLowerCase() !== "other") {
    return id;
  }
  // A text's head says what it is; the rest may quote others.
  const head = text.slice(0, 2000);
  const known = LICENSES.find(([pattern]) => pattern.test(head))?.[1];
  const first = head
    .split("\n")
    .map((line) => line.trim())
    .find((line) => line !== "");
  return known ?? (first === undefined ? "" : ended(first));
}

function ended(line: string): string {
  return line.length <= MAX_TITLE_LENGTH ? line : `${line.slice(0, MAX_TITLE_LENGTH - 1)}…`;
}

// --- parts --------------------------------------------------------------------------------------

function stateOf(stored: StoredModel | null): ModelState {
  return stored === null || stored.storedBytes === 0
    ? "offered"
    : stored.storedBytes < stored.totalBytes
      ? "partial"
      : "stored";
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

function numberOf(value: unknown): number | null {
  return typeof value === "number" && value > 0 ? value : null;
}
