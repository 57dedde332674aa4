/**
 * What the page's address asks for.
 *
 *   ?model=smollm2            a model of this server (or name:tag, or namespace/name)
 *                             on a static host of `transom export`: a model of the export
 *   ?bundle=demo/             a bundle in a plain folder beside the page
 *   ?imported=6a1f…           what a file picker brought, by the digest of its index
 *   &variant=f32 &schedule=fallback &pipelines=lazy    force what the adapter would decide
 *   &engine=cpu               run on the processor; =webgpu: on the graphics adapter or not at all
 *   &threads=4                so many on the processor
 *   &force=1                  load also what does not fit into memory, by our estimate
 *   &memory=2048              megabytes of GPU memory that models may take
 *   &where=browser            who answers (`client/place.ts`)
 */
import { TransomError } from "../errors.ts";
import type { BundleSource, LoadRequest } from "../protocol.ts";

/** An address has it without the "sha256:". */
const IMPORTED = /^[0-9a-f]{64}$/;
const IMPORTED_ID = "imported:sha256:";
const MEGABYTE = 1_000_000;
/** Names as the store takes them (`transom_models/name.py`), `library/` without a namespace. */
const NAME = /^(?:(\w[\w-]{0,79})\/)?(\w[\w.-]{0,79})(?::(\w[\w.-]{0,79}))?$/;

/** Who answers for models: a server of ours, or the files of `transom export` beside the page. */
export type Host = "server" | "layout";

/**
 * @param mirrors where else an export's models are (`readMirrors`).
 * @returns null when the address names no model. @throws TransomError `invalid-request`.
 */
export function readAddress(
  address: URL,
  host: Host = "server",
  mirrors: readonly string[] = [],
): LoadRequest | null {
  const query = address.searchParams;
  const source = readImported(query) ?? readSource(address, query, host, mirrors);
  if (source === null) {
    return null;
  }
  const engine = oneOf(query, "engine", ["webgpu", "cpu"]);
  const variant = oneOf(query, "variant", ["f16", "f32"]);
  const schedule = oneOf(query, "schedule", ["gpu", "fallback"]);
  const pipelines = oneOf(query, "pipelines", ["ahead", "lazy"]);
  const isForced = oneOf(query, "force", ["1"]) !== null;
  const memoryBudgetBytes = readMemory(query);
  const threads = readThreads(query);
  return {
    source,
    ...(isForced && { isForced }),
    ...(memoryBudgetBytes !== null && { memoryBudgetBytes }),
    overrides: {
      ...(engine && { engine }),
      ...(threads !== null && { threads }),
      ...(variant && { variant }),
      ...(schedule && { schedule }),
      ...(pipelines && { pipelines }),
    },
  };
}

/**
 * The address of a page that loads a stored model (`StoredModel.id`), null where this page cannot:
 * it came from another host or folder.
 */
export function addressOf(id: string, page: URL): string | null {
  if (id.startsWith(IMPORTED_ID)) {
    return `?imported=${id.slice(IMPORTED_ID.length)}`;
  }
  const base = new URL(".", page).href;
  if (!id.startsWith(base)) {
    return null;
  }
  const [path = "", reference] = id.slice(base.length).split("#");
  if (reference !== undefined) {
    return `?model=${encodeURIComponent(reference.replace(/:latest$/, ""))}`;
  }
  const [, repository, tag] = /^v2\/(.+)\/manifests\/([^/]+)$/.exec(path) ?? [];
  if (repository !== undefined && tag !== undefined) {
    const name = repository.replace(/^library\//, "");
    return `?model=${encodeURIComponent(tag === "latest" ? name : `${name}:${tag}`)}`;
  }
  const [, folder] = /^(.+)\/index\.json$/.exec(path) ?? [];
  return folder === undefined ? null : `?bundle=${encodeURIComponent(`${folder}/`)}`;
}

/** What `transom export` writes into the page (`transom_server/exchange/page_export.py`). */
export function readHost(page: Document): Host {
  const meta = page.querySelector<HTMLMetaElement>('meta[name="transom-models"]');
  return meta?.content === "layout" ? "layout" : "server";
}

/**
 * Other addresses of an export's models, for when its own host fails. They stand in the page, whose policy
 * has to let it ask them (`transom_server/exchange/mirrors.py`).
 */
export function readMirrors(page: Document): readonly string[] {
  const meta = page.querySelector<HTMLMetaElement>('meta[name="transom-mirrors"]');
  return meta?.content.split(/\s+/).filter((text) => URL.canParse(text)) ?? [];
}

function readImported(query: URLSearchParams) {
  const hex = query.get("imported");
  if (hex === null) {
    return null;
  }
  if (!IMPORTED.test(hex)) {
    throw new TransomError("invalid-request", `imported is 64 hex digits, not "${hex}".`);
  }
  return { kind: "imported", id: `sha256:${hex}` } satisfies BundleSource;
}

function readMemory(query: URLSearchParams): number | null {
  const text = query.get("memory");
  if (text === null) {
    return null;
  }
  if (!/^[1-9]\d{0,6}$/.test(text)) {
    throw new TransomError("invalid-request", `memory is megabytes, not "${text}".`);
  }
  return Number(text) * MEGABYTE;
}

function readThreads(query: URLSearchParams): number | null {
  const text = query.get("threads");
  if (text === null) {
    return null;
  }
  if (!/^[1-8]$/.test(text)) {
    throw new TransomError("invalid-request", `threads are 1 to 8, not "${text}".`);
  }
  return Number(text);
}

function readSource(address: URL, query: URLSearchParams, host: Host, mirrors: readonly string[]) {
  const model = query.get("model");
  const bundle = query.get("bundle");
  const baseUrl = new URL(".", address).href;
  if (bundle !== null) {
    return { kind: "folder", baseUrl: new URL(bundle, baseUrl).href } satisfies BundleSource;
  }
  if (model === null || model === "") {
    return null;
  }
  if (host === "layout") {
    // Only looked up in the layout's list, so any text will do; a name without a tag means `latest`.
    const reference = /:[^/]*$/.test(model) ? model : `${model}:latest`;
    const others = mirrors.length === 0 ? {} : { mirrors };
    return { kind: "layout", baseUrl, reference, ...others } satisfies BundleSource;
  }
  const [, namespace = "library", name, reference = "latest"] = NAME.exec(model) ?? [];
  if (name === undefined) {
    throw new TransomError(
      "invalid-request",
      `"${model}" is not a model name. Names look like smollm2, smollm2:latest or me/smollm2.`,
    );
  }
  const repository = `${namespace}/${name}`;
  return { kind: "registry", baseUrl, repository, reference } satisfies BundleSource;
}

function oneOf<T extends string>(
  query: URLSearchParams,
  name: string,
  values: readonly T[],
): T | null {
  const text = query.get(name);
  const value = values.find((candidate) => candidate === text) ?? null;
  if (text !== null && value === null) {
    throw new TransomError("invalid-request", `${name} is ${values.join(" or ")}, not "${text}".`);
  }
  return value;
}
