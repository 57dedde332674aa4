/**
 * Opens the model of the page's address where it is to answer: in this page's engine, in the engine of
 * the tab that leads, or at the server. No DOM.
 *
 *   place says      this page    the model is
 *   this browser    leads        loaded here
 *   this browser    follows      asked for through the API, and loaded by the tab that leads
 *   the server      either       looked up there; nothing is loaded here
 *
 * A model that this browser cannot load answers from the server, where there is one that has it.
 */
import type { HouseNews, Place } from "../api-protocol.ts";
import { refusalOf } from "../client/api-errors.ts";
import type { House } from "../client/house.ts";
import { isSameName, nameOfSource, wholeName } from "../client/model-name.ts";
import { TransomError, type WireError, toWireError } from "../errors.ts";
import type { LoadProgress, LoadReport, LoadRequest } from "../protocol.ts";
import { decide } from "../sw/decision.ts";

/** A page that leads says so at once; one that is frozen says nothing. */
const ROLE_MILLISECONDS = 5000;
/** What the leader tells and what it answers come by different ways. */
const NEWS_MILLISECONDS = 10_000;

/** A model that the server runs. */
export interface ServerModel {
  engine: "server";
  task: "chat";
  /** As people call it. */
  model: string;
  /** As the API does. */
  name: string;
  /** Why this browser cannot run it; null where the place is the server. */
  failure: WireError | null;
}

/** A model that answers. */
export type Opened = LocalModel | ServerModel;

/** `name` as the API calls it. */
export type LocalModel = LoadReport & { name: string; isInAnotherTab: boolean };

export interface OpeningOptions {
  house: Pick<
    House,
    "place" | "placed" | "ready" | "isLeading" | "hasServiceWorker" | "onNews" | "tell"
  >;
  /** Whether this browser can have service workers; else this page is on its own. */
  hasServiceWorkers: boolean;
  /** With this page's engine. */
  load(request: LoadRequest, onProgress: (progress: LoadProgress) => void): Promise<LoadReport>;
  /** What people call a model that a file picker brought; null where it is not here. */
  shownName(request: LoadRequest): Promise<string | null>;
  /** Names of the models that the server has, as it likes them. */
  listModels(): Promise<readonly string[]>;
  /** Of the page's folder. */
  baseUrl: string;
  fetch(url: URL, init: RequestInit): Promise<Response>;
  onProgress(progress: LoadProgress): void;
}

export class Opening {
  readonly #options: OpeningOptions;
  /** What the leader has loaded, by name. */
  readonly #reports = new Map<string, LoadReport>();
  readonly #waiting = new Map<string, (report: LoadReport) => void>();
  readonly #role: Promise<"leads" | "follows">;
  /** What is being loaded, by whoever leads. */
  #name: string | null = null;

  /** Hears the house's news from now on. */
  constructor(options: OpeningOptions) {
    this.#options = options;
    const { house, hasServiceWorkers } = options;
    this.#role = new Promise((resolve) => {
      house.onNews((news) => {
        if (news.kind === "leads") {
          resolve(house.isLeading ? "leads" : "follows");
        }
        this.#hear(news);
      });
      if (!hasServiceWorkers) {
        resolve("leads");
      }
      setTimeout(() => {
        resolve(house.isLeading ? "leads" : "follows");
      }, ROLE_MILLISECONDS);
    });
  }

  /** @throws TransomError where it cannot answer, here or at the server. */
  async open(request: LoadRequest): Promise<Opened> {
    const { house } = this.#options;
    // The visitor may have chosen otherwise since.
    const first = await house.placed;
    const place = house.place ?? first;
    const name = await this.#nameOf(request);
    if (decide(place).where === "server" && name !== null) {
      return this.#atServer(name, null);
    }
    try {
      const opened =
        (await this.#role) === "leads" ? await this.#load(request) : await this.#follow(name);
      await this.#requireServiceWorker();
      return opened;
    } catch (error) {
      if (name !== null && (await this.#mayTurn(place, name))) {
        return this.#atServer(name, toWireError(error));
      }
      throw error;
    }
  }

  /** With this page's engine; the other pages hear of it. */
  async #load(request: LoadRequest): Promise<LocalModel> {
    const { house } = this.#options;
    const tell = (news: HouseNews) => {
      if (house.isLeading) {
        house.tell(news);
      }
    };
    const name = (await this.#nameOf(request)) ?? "";
    try {
      const report = await this.#options.load(request, (progress) => {
        this.#options.onProgress(progress);
        tell({ kind: "loading", name, progress });
      });
      tell({ kind: "loaded", report });
      const apiName = nameOfSource(request.source, report.model) ?? report.model;
      return { ...report, name: apiName, isInAnotherTab: false };
    } catch (error) {
      tell({ kind: "load-failed", name, error: toWireError(error) });
      throw error;
    }
  }

  async #nameOf(request: LoadRequest): Promise<string | null> {
    return nameOfSource(request.source, await this.#options.shownName(request));
  }

  /** Answers come through it, as soon as a first visit has brought the page's files. */
  async #requireServiceWorker(): Promise<void> {
    const { house } = this.#options;
    await house.ready;
    if (!house.hasServiceWorker) {
      throw new TransomError(
        "no-service-worker",
        "This browser lets the page have no service worker, through which answers come. " +
          "Open it over https or on localhost, and not in a private window.",
      );
    }
  }

  /** Have the leader load it; Ollama's way to load a model is to ask it nothing. */
  async #follow(name: string | null): Promise<LocalModel> {
    if (name === null) {
      throw new TransomError(
        "model-not-found",
        "Another tab of this page answers, and does not know this model. " +
          "Close the other tabs, then reload.",
      );
    }
    const { house, baseUrl } = this.#options;
    this.#name = name;
    try {
      await house.ready;
      const told = this.#reports.get(name);
      const report =
        told === undefined
          ? new Promise<LoadReport>((resolve) => this.#waiting.set(name, resolve))
          : Promise.resolve(told);
      const response = await this.#options.fetch(new URL("api/generate", baseUrl), {
        method: "POST",
        body: JSON.stringify({ model: name, stream: false }),
      });
      if (!response.ok) {
        throw (await refusalOf(response)).error;
      }
      return { ...(await Promise.race([report, late(name)])), name, isInAnotherTab: true };
    } finally {
      this.#name = null;
      this.#waiting.delete(name);
    }
  }

  async #atServer(name: string, failure: WireError | null): Promise<ServerModel> {
    const names = await this.#options.listModels();
    const shown = shortName(name);
    // A server that wants a key tells no names.
    if (names.length > 0 && !hasName(names, name)) {
      throw new TransomError("model-not-found", `There is no model ${shown} on this server.`);
    }
    return { engine: "server", task: "chat", model: shown, name, failure };
  }

  async #mayTurn(place: Place, name: string): Promise<boolean> {
    const { where, mayTurn } = decide(place);
    return where === "browser" && mayTurn && hasName(await this.#options.listModels(), name);
  }

  #hear(news: HouseNews): void {
    if (news.kind === "loaded") {
      const { report } = news;
      for (const name of report.unloaded) {
        this.#reports.delete(wholeName(name) ?? name);
      }
      const name = wholeName(report.model) ?? report.model;
      this.#reports.set(name, report);
      this.#waiting.get(name)?.(report);
    } else if (news.kind === "loading" && news.name === this.#name) {
      this.#options.onProgress(news.progress);
    }
  }
}

/** library/smollm2:latest -> smollm2 */
export function shortName(name: string): string {
  return name.replace(/^library\//, "").replace(/:latest$/, "");
}

function hasName(names: readonly string[], name: string): boolean {
  return names.some((each) => isSameName(wholeName(each) ?? each, name));
}

function late(name: string): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => {
      reject(new TransomError("internal", `The tab that runs ${name} does not say how it went.`));
    }, NEWS_MILLISECONDS);
  });
}
