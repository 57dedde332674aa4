/**
 * Which models there are by name, and how each is loaded: what the page's address names, what this
 * page's host offers, and what this browser has stored.
 *
 *   from                asks                              knows
 *   the address         nobody                            how it wants to be loaded
 *   a server            `api/tags`                        size, digest, details
 *   a static host       `index.json` of the layout        size, digest, details: `layout-facts.ts`
 *   this browser        the engine's `stored`             sizes, digest; also of hosts that are away
 *                       what hosts said before            details: `kept-facts.ts`
 */
import { type ModelRow, SERVED_BY_HEADER } from "../api-protocol.ts";
import { TransomError } from "../errors.ts";
import type { BundleSource, LoadRequest, Storage, StoredModel } from "../protocol.ts";
import { keyedFetch } from "./api-key.ts";
import { type KeptFact, KeptFacts } from "./kept-facts.ts";
import { type LayoutFacts, readLayoutFacts } from "./layout-facts.ts";
import { isSameName, nameOfSource, wholeName } from "./model-name.ts";

/** A host that needs longer is not there for somebody who waits for an answer. */
const HOST_MILLISECONDS = 5000;
/** Lists are asked for several times in one request of the API. */
const KEPT_MILLISECONDS = 5000;
const REF_NAME = "org.opencontainers.image.ref.name";

/** A model that can be loaded; not loaded yet, as far as this knows. */
export interface Entry {
  row: Omit<ModelRow, "loadedBytes">;
  request: LoadRequest;
  /** This page's host has it; else this browser alone does. */
  isOffered: boolean;
  /** Its SPDX expression, where the list says it; null where it does not. */
  license: string | null;
}

export interface CatalogueOptions {
  /** Of the page, or of its folder. */
  baseUrl: string;
  host: "server" | "layout";
  /** Where else an export's models are. */
  mirrors?: readonly string[];
  /** What the page's address asks for; null: no model. How it wants to be loaded holds for all. */
  named: LoadRequest | null;
  /** What this browser keeps. */
  stored: () => Promise<Pick<Storage, "models">>;
  fetch?: typeof fetch;
  /** What hosts said of them; in this origin's storage by default. */
  facts?: Pick<KeptFacts, "find" | "keep">;
  /** Milliseconds, as `performance.now()`. */
  now?: () => number;
}

interface Offer {
  reference: string;
  created: number;
  bytes: number;
  digest: string;
  details: ModelRow["details"];
  capabilities: readonly string[];
  license: string | null;
}

export class Catalogue {
  readonly #options: CatalogueOptions;
  readonly #folder: string;
  readonly #fetch: typeof fetch;
  readonly #facts: Pick<KeptFacts, "find" | "keep">;
  readonly #now: () => number;
  /** Of a static host's models, by the digest of the row: what a digest names never changes. */
  readonly #layoutFacts = new Map<string, Promise<LayoutFacts | null>>();
  #offers: { list: Promise<readonly Offer[]>; at: number } | null = null;

  constructor(options: CatalogueOptions) {
    this.#options = options;
    this.#folder = new URL(".", options.baseUrl).href;
    this.#fetch = options.fetch ?? keyedFetch(options);
    this.#facts = options.facts ?? new KeptFacts();
    this.#now = options.now ?? (() => performance.now());
  }

  /** Every model once, the one of the address first. */
  async entries(): Promise<Entry[]> {
    const [stored, offers] = await Promise.all([this.#storedModels(), this.#offered()]);
    const entries: Entry[] = [];
    const add = (source: BundleSource, shown: string | null, offer: Offer | null) => {
      const name = nameOfSource(source, shown);
      if (name === null || entries.some(({ row }) => isSameName(row.name, name))) {
        return;
      }
      const here = stored.find(({ id }) => isSame(sourceOf(id), source));
      if (here !== undefined && offer !== null && offer.digest === here.index && isTold(offer)) {
        said.set(here.id, factOf(offer));
      }
      const before = here === undefined ? null : this.#facts.find(here.id, here.index);
      const about: Partial<KeptFact> =
        offer !== null && (before === null || isTold(offer)) ? offer : (before ?? {});
      entries.push({
        row: {
          name,
          created: about.created ?? Math.floor((here?.lastUsed ?? 0) / 1000),
          bytes: about.bytes ?? here?.totalBytes ?? 0,
          digest: about.digest ?? here?.index ?? (source.kind === "imported" ? source.id : ""),
          details: about.details ?? {},
          capabilities: about.capabilities ?? ["completion"],
          isStored: here !== undefined && here.storedBytes >= here.totalBytes,
        },
        request: this.#requestFor(source),
        isOffered: offers.some((offer) => isSame(this.#sourceOfOffer(offer), source)),
        license: about.license ?? null,
      });
    };
    const said = new Map<string, KeptFact>();
    const shownOf = (source: BundleSource) =>
      stored.find(({ id }) => isSame(sourceOf(id), source))?.name ?? null;
    const offerOf = (source: BundleSource) =>
      offers.find((offer) => isSame(this.#sourceOfOffer(offer), source));
    const { named } = this.#options;
    if (named !== null) {
      add(named.source, shownOf(named.source), offerOf(named.source) ?? null);
    }
    for (const offer of offers) {
      const source = this.#sourceOfOffer(offer);
      if (source !== null) {
        add(source, null, offer);
      }
    }
    // A host that does not answer now may have given them before.
    for (const { id, name } of stored) {
      const source = sourceOf(id);
      if (source !== null) {
        add(source, name, null);
      }
    }
    this.#facts.keep(said, new Set(stored.map(({ id }) => id)));
    return entries;
  }

  /** The host's list may be another one now: a model has just come. */
  refresh(): void {
    this.#offers = null;
  }

  /** @param name with or without the parts that go without saying. */
  async find(name: string): Promise<Entry | null> {
    const wanted = wholeName(name);
    return wanted === null
      ? null
      : ((await this.entries()).find(({ row }) => isSameName(row.name, wanted)) ?? null);
  }

  #requestFor(known: BundleSource): LoadRequest {
    const { named, mirrors = [] } = this.#options;
    const isOfThisHost = known.kind === "layout" && known.baseUrl === this.#folder;
    const source = isOfThisHost && mirrors.length > 0 ? { ...known, mirrors } : known;
    if (named === null || isSame(named.source, source)) {
      return named ?? { source, overrides: {} };
    }
    // To force is said of one model.
    return { ...named, source, isForced: false };
  }

  #sourceOfOffer({ reference }: Offer): BundleSource | null {
    const { host } = this.#options;
    const baseUrl = this.#folder;
    if (host === "layout") {
      return { kind: "layout", baseUrl, reference };
    }
    const [, repository, tag] = /^([^/]+\/[^/]+):([^:]+)$/.exec(wholeName(reference) ?? "") ?? [];
    // A model of another host's is under its own name there, and `/v2/` has no place for that.
    return repository === undefined || tag === undefined
      ? null
      : { kind: "registry", baseUrl, repository, reference: tag };
  }

  async #storedModels(): Promise<readonly StoredModel[]> {
    try {
      return (await this.#options.stored()).models;
    } catch {
      return [];
    }
  }

  #offered(): Promise<readonly Offer[]> {
    const now = this.#now();
    if (this.#offers === null || now - this.#offers.at > KEPT_MILLISECONDS) {
      this.#offers = { list: this.#askHost().catch(() => []), at: now };
    }
    return this.#offers.list;
  }

  async #askHost(): Promise<readonly Offer[]> {
    const { host } = this.#options;
    // Past the service worker, which would ask us.
    const headers = { [SERVED_BY_HEADER]: "server" };
    const path = host === "layout" ? "index.json" : "api/tags";
    const response = await this.#get(path, { headers, cache: "no-cache" });
    const body: unknown = await response.json();
    if (host === "server") {
      return rowsOf(body, "models", fromTags);
    }
    const facts = new Map<Offer, Promise<LayoutFacts | null>>();
    const offers = rowsOf(body, "manifests", (row) => {
      const offer = fromLayout(row);
      if (offer !== null) {
        facts.set(offer, this.#factsOf(offer.digest, row));
      }
      return offer;
    });
    return Promise.all(offers.map(async (offer) => ({ ...offer, ...(await facts.get(offer)) })));
  }

  /** Null where they cannot be read; then somebody asks again. */
  #factsOf(digest: string, row: Record<string, unknown>): Promise<LayoutFacts | null> {
    let facts = this.#layoutFacts.get(digest);
    if (facts === undefined) {
      const get = (blob: string) => this.#get(`blobs/${blob.replace(":", "/")}`, {});
      facts = readLayoutFacts(row, {
        json: async (blob) => (await get(blob)).json() as Promise<unknown>,
        text: async (blob) => (await get(blob)).text(),
      }).catch(() => {
        this.#layoutFacts.delete(digest);
        return null;
      });
      this.#layoutFacts.set(digest, facts);
    }
    return facts;
  }

  /** @throws where the host does not answer well. */
  async #get(path: string, init: RequestInit): Promise<Response> {
    const signal = AbortSignal.timeout(HOST_MILLISECONDS);
    const response = await this.#fetch(new URL(path, this.#folder), { ...init, signal });
    if (!response.ok) {
      throw new TransomError("network", `${path} was not loaded: HTTP ${response.status}.`);
    }
    return response;
  }
}

/** Rows of a host's list that can be read; a list that is none has none. */
function rowsOf(
  body: unknown,
  field: string,
  read: (row: Record<string, unknown>) => Offer | null,
): Offer[] {
  const rows = (body as Record<string, unknown> | null)?.[field];
  return (Array.isArray(rows) ? rows : [])
    .filter((row): row is Record<string, unknown> => typeof row === "object" && row !== null)
    .map(read)
    .filter((offer) => offer !== null);
}

function fromTags(row: Record<string, unknown>): Offer | null {
  const { name, size, digest, details, capabilities } = row;
  return typeof name !== "string"
    ? null
    : {
        reference: name,
        created: secondsOf(row["modified_at"]),
        bytes: typeof size === "number" ? size : 0,
        digest: typeof digest === "string" ? `sha256:${digest.replace(/^sha256:/, "")}` : "",
        details: typeof details === "object" ? ((details as ModelRow["details"] | null) ?? {}) : {},
        capabilities: Array.isArray(capabilities) ? capabilities.map(String) : ["completion"],
        license: null,
      };
}

function fromLayout({ annotations, digest }: Record<string, unknown>): Offer | null {
  const about = (annotations ?? {}) as Record<string, unknown>;
  const reference = about[REF_NAME];
  return typeof reference !== "string"
    ? null
    : {
        reference,
        created: secondsOf(about["org.opencontainers.image.created"]),
        bytes: 0,
        digest: typeof digest === "string" ? digest : "",
        details: {},
        capabilities: ["completion"],
        license: null,
      };
}

function factOf({ digest, created, bytes, details, capabilities, license }: Offer): KeptFact {
  return { digest, created, bytes, details, capabilities, license };
}

/** Small files of a static host may not have come. */
function isTold({ details }: Offer): boolean {
  return Object.keys(details).length > 0;
}

function secondsOf(date: unknown): number {
  const milliseconds = typeof date === "string" ? Date.parse(date) : NaN;
  return Number.isNaN(milliseconds) ? 0 : Math.floor(milliseconds / 1000);
}

/** Where a stored model came from (`store/location.ts` makes the ids). */
export function sourceOf(id: string): BundleSource | null {
  if (id.startsWith("imported:")) {
    return { kind: "imported", id: id.slice("imported:".length) };
  }
  const [, registry, repository, tag] = /^(.+\/)v2\/(.+)\/manifests\/([^/]+)$/.exec(id) ?? [];
  if (registry !== undefined && repository !== undefined && tag !== undefined) {
    return { kind: "registry", baseUrl: registry, repository, reference: tag };
  }
  const [, folder, reference] = /^(.+\/)index\.json(?:#(.+))?$/.exec(id) ?? [];
  if (folder === undefined) {
    return null;
  }
  return reference === undefined
    ? { kind: "folder", baseUrl: folder }
    : { kind: "layout", baseUrl: folder, reference };
}

/** Whether two sources are one model. */
export function isSameSource(one: BundleSource | null, other: BundleSource): boolean {
  return isSame(one, other);
}

function isSame(one: BundleSource | null, other: BundleSource): boolean {
  return one !== null && keyOf(one) === keyOf(other);
}

function keyOf(source: BundleSource): string {
  switch (source.kind) {
    case "registry":
      return JSON.stringify([source.baseUrl, source.repository, source.reference]);
    case "layout":
      return JSON.stringify([source.baseUrl, source.reference]);
    case "folder":
      return source.baseUrl.replace(/\/*$/, "/");
    case "imported":
      return source.id;
  }
}
