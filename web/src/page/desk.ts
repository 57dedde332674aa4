/**
 * What is open here: the model, where it answers, and how its opening goes. Signals, no DOM.
 *
 * Loading, fitting and storage go to the engine; what is said goes through `fetch` (`Chat`), whoever
 * answers it.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import type { Place } from "../api-protocol.ts";
import { refusalOf } from "../client/api-errors.ts";
import { keyedFetch } from "../client/api-key.ts";
import { Catalogue } from "../client/catalogue.ts";
import type { ServedBy } from "../client/completion-stream.ts";
import { type House, startHouse } from "../client/house.ts";
import { listLayout, listModels } from "../client/model-list.ts";
import { nameOfSource } from "../client/model-name.ts";
import { bundleUrl, engineForApi, startApiWorker, startEngine } from "../client/start-engine.ts";
import { TransomError } from "../errors.ts";
import type { LoadProgress, LoadReport, LoadRequest } from "../protocol.ts";
import { decide } from "../sw/decision.ts";
import { type Host, addressOf, readAddress, readMirrors } from "./address.ts";
import { askToKeep } from "./keeping.ts";
import { type Opened, Opening, shortName } from "./opening.ts";
import type { Situation } from "./place-text.ts";

/** A model to choose, where the address names none. */
export interface Offer {
  name: string;
  address: string;
}

export interface Choice {
  /** Where the offers come from. */
  from: "server" | "browser";
  offers: readonly Offer[];
}

export class Desk {
  readonly #host: Host;
  readonly #mirrors = readMirrors(document);
  readonly #place = signal<Place>({ wanted: "auto", hasWebGpu: true, hasServer: false });
  readonly #opened = signal<Opened | null>(null);
  readonly #failure = signal<unknown>(null);
  readonly #progress = signal<LoadProgress | null>(null);
  readonly #isOpening = signal(false);
  readonly #name = signal("");
  readonly #choice = signal<Choice | null>(null);
  readonly #task = signal<"" | "lost" | "again" | "taking-over">("");
  #opening: Opening | null = null;
  #catalogue: Catalogue | null = null;
  #request: LoadRequest | null = null;
  /** The last opening of a model, which may be on its way. */
  #latest: Promise<Opened> | null = null;

  readonly place: ReadonlySignal<Place> = this.#place;
  readonly opened: ReadonlySignal<Opened | null> = this.#opened;
  readonly failure: ReadonlySignal<unknown> = this.#failure;
  /** The last word on loading; null before the first. */
  readonly progress: ReadonlySignal<LoadProgress | null> = this.#progress;
  readonly isOpening: ReadonlySignal<boolean> = this.#isOpening;
  /** As people call the model that is open, or is to be. */
  readonly name: ReadonlySignal<string> = this.#name;
  /** Null while the address names a model, or nobody has said which there are. */
  readonly choice: ReadonlySignal<Choice | null> = this.#choice;
  /** What the engine is at, apart from answering. */
  readonly task: ReadonlySignal<"" | "lost" | "again" | "taking-over"> = this.#task;
  /** The one engine of this page. */
  readonly engine = startEngine((isOver) => {
    this.#task.value = isOver ? "again" : "lost";
  }, askToKeep);

  /** Who gave the last answer; null before the first. */
  readonly answered = signal<ServedBy | null>(null);

  /** Null where the page's address makes no sense. */
  house: House | null = null;

  /** With the key that the server of this page wants, if the visitor gave one. */
  readonly fetch: ReturnType<typeof keyedFetch>;

  constructor(host: Host) {
    this.#host = host;
    this.fetch = keyedFetch({ baseUrl: document.baseURI, host });
  }

  /** Every model that can be asked for by name. */
  get catalogue(): Catalogue {
    return (this.#catalogue ??= new Catalogue({
      baseUrl: document.baseURI,
      host: this.#host,
      mirrors: this.#mirrors,
      named: this.#request,
      stored: () => this.engine.current.stored(),
    }));
  }

  get isStatic(): boolean {
    return this.#host === "layout";
  }

  /** Take part in the house, and open the model of the page's address. */
  async start(): Promise<Opened> {
    try {
      const request = (this.#request = readAddress(
        new URL(location.href),
        this.#host,
        this.#mirrors,
      ));
      const house: House = (this.house = startHouse({
        engine: () => engineForApi(this.engine, house, this.catalogue),
        startApiWorker,
        bundleUrl: bundleUrl(),
        isStatic: this.isStatic,
      }));
      this.#opening = new Opening({
        house,
        hasServiceWorkers: "serviceWorker" in navigator,
        load: (wanted, onProgress) => this.#loadOnce(wanted, onProgress),
        shownName: (wanted) => this.#shownName(wanted),
        listModels: () => listModels(document.baseURI),
        baseUrl: document.baseURI,
        fetch: this.fetch,
        onProgress: (progress) => {
          this.#progress.value = progress;
        },
      });
      house.onPlace((changed) => {
        this.#place.value = changed;
        this.answered.value = null;
        void this.#reopen();
      });
      house.onNews((news) => {
        if (news.kind === "leads") {
          void this.#takeOver();
        }
      });
      if (request === null) {
        void house.placed.then((placed) => {
          this.#place.value = placed;
        });
        this.#choice.value = await this.#offers();
        throw new TransomError("no-model", "The address names no model (?model=NAME).");
      }
      await this.#nameFor(request);
      this.#place.value = await house.placed;
      return await this.#open(request);
    } catch (error) {
      if (!(error instanceof TransomError && error.code === "no-model")) {
        this.#failure.value = error;
      }
      throw error;
    }
  }

  /** The model that answers, or is being opened. @throws what its opening does. */
  async current(): Promise<Opened | null> {
    // The tab that answered may have been closed since, or the visitor has chosen otherwise.
    return (await this.#latest) ?? this.#opened.value;
  }

  /** Open another model in this page; its address becomes the page's. */
  async choose(address: string): Promise<void> {
    const url = new URL(address, location.href);
    const request = readAddress(url, this.#host, this.#mirrors);
    if (request === null || this.#opening === null || this.#isOpening.value) {
      // Half open, or no model at all: a fresh page knows how.
      location.href = url.href;
      return;
    }
    url.hash = location.hash;
    history.pushState(null, "", url);
    this.#request = request;
    this.#choice.value = null;
    await this.#nameFor(request);
    await this.#open(request).catch(() => undefined);
  }

  /** Load a model beside the one that is open, in the tab that leads. */
  async load(request: LoadRequest, onProgress: (progress: LoadProgress) => void): Promise<unknown> {
    const name = nameOfSource(request.source, await this.#shownName(request));
    if (this.house?.isLeading !== false || name === null) {
      return this.#loadOnce(request, onProgress);
    }
    const response = await this.fetch(new URL("api/generate", document.baseURI), {
      method: "POST",
      body: JSON.stringify({ model: name, stream: false }),
    });
    if (!response.ok) {
      throw (await refusalOf(response)).error;
    }
    return null;
  }

  /** The visitor wants answers from there. */
  want(wanted: Place["wanted"]): void {
    this.house?.want(wanted);
  }

  situation(): Situation {
    const opened = this.#opened.value;
    const local = opened === null || opened.engine === "server" ? null : opened;
    return {
      place: this.#place.value,
      knowsWebGpu: "gpu" in navigator,
      engine: local?.engine ?? null,
      processor: local?.processor ?? null,
      isInAnotherTab: local?.isInAnotherTab ?? false,
      failure: opened?.engine === "server" ? opened.failure : null,
      answered: this.answered.value,
    };
  }

  /** The address that loads the model whatever an estimate says; null: that is no way out. */
  forcingAddress(): string | null {
    const failure = this.#failure.value;
    const code = failure instanceof TransomError ? failure.code : null;
    const problems = this.#progress.value?.fit?.problems ?? [];
    const problem = problems.find((each) => code === null || each.code === code);
    if (problem?.refusal !== "unless-forced") {
      return null;
    }
    const address = new URL(location.href);
    address.searchParams.set("force", "1");
    return address.href;
  }

  /** What an address would load, from its part after "?". */
  requestOf(query: string): LoadRequest {
    const url = new URL(`?${query}`, location.href);
    const request = readAddress(url, this.#host, this.#mirrors);
    if (request === null) {
      throw new TransomError("no-model", `"${query}" names no model (model=NAME).`);
    }
    return request;
  }

  /** Models of the host; where it says nothing, those of this browser. */
  async #offers(): Promise<Choice> {
    const list = this.isStatic ? listLayout : listModels;
    const names = await list(document.baseURI);
    if (names.length > 0) {
      const offers = names.map((name) => ({
        name,
        address: `?model=${encodeURIComponent(name)}`,
      }));
      return { from: "server", offers };
    }
    const { models } = await this.engine.current.stored();
    const offers = models.flatMap(({ id, name }) => {
      const address = addressOf(id, new URL(location.href));
      return address === null ? [] : [{ name, address }];
    });
    return { from: "browser", offers };
  }

  /** Load a model, unless it is loaded. */
  async #loadOnce(
    request: LoadRequest,
    onProgress: (progress: LoadProgress) => void,
  ): Promise<LoadReport> {
    const source = JSON.stringify(request.source);
    const found = [...this.engine.loaded.values()].find(
      (loaded) => JSON.stringify(loaded.request.source) === source,
    );
    return found === undefined ? this.engine.load(request, onProgress) : found.report;
  }

  async #nameFor(request: LoadRequest): Promise<void> {
    const name = nameOfSource(request.source, await this.#shownName(request));
    this.#name.value = name === null ? "imported model" : shortName(name);
  }

  /** What people call an imported model; only this browser's storage knows. */
  async #shownName({ source }: LoadRequest): Promise<string | null> {
    if (source.kind !== "imported") {
      return null;
    }
    const { models } = await this.engine.current.stored();
    return models.find(({ id }) => id === `imported:${source.id}`)?.name ?? null;
  }

  #open(request: LoadRequest): Promise<Opened> {
    this.#latest = this.#openNow(request);
    return this.#latest;
  }

  async #openNow(request: LoadRequest): Promise<Opened> {
    if (this.#opening === null) {
      throw new TransomError("internal", "The page has not started.");
    }
    this.#isOpening.value = true;
    this.#opened.value = null;
    this.#failure.value = null;
    try {
      const opened = await this.#opening.open(request);
      this.#task.value = "";
      this.#name.value = opened.model;
      this.#opened.value = opened;
      return opened;
    } catch (error) {
      this.#failure.value = error;
      throw error;
    } finally {
      this.#isOpening.value = false;
    }
  }

  /** The visitor has chosen otherwise, or a server has come or gone. */
  async #reopen(): Promise<void> {
    const opened = this.#opened.value;
    const isAtServer = decide(this.#place.value).where === "server";
    const isThere = opened !== null && (opened.engine === "server") === isAtServer;
    const isNew = opened === null && this.#failure.value === null;
    if (this.#request === null || this.#isOpening.value || isThere || isNew) {
      return;
    }
    await this.#open(this.#request).catch(() => undefined);
  }

  /** The tab that answered has been closed, and this one leads. */
  async #takeOver(): Promise<void> {
    const opened = this.#opened.value;
    if (this.#request === null || this.house?.isLeading !== true) {
      return;
    }
    if (opened === null || opened.engine === "server" || !opened.isInAnotherTab) {
      return;
    }
    this.#task.value = "taking-over";
    await this.#open(this.#request).catch(() => undefined);
  }
}
