/**
 * What the page's address asks for.
 *
 *   ?model=smollm2            a model of this server (or name:tag, or namespace/name)
 *                             on a static host of `transom export`: a model of the export
 *   ?bundle=demo/             a bundle in a plain folder beside the page
 *   &variant=f32 &schedule=fallback &pipelines=lazy    force what the adapter would decide
 */
import { TransomError } from "../errors.ts";
import type { BundleSource, LoadRequest } from "../protocol.ts";

/** Names as the store takes them (`transom_models/name.py`), `library/` without a namespace. */
const NAME = /^(?:(\w[\w-]{0,79})\/)?(\w[\w.-]{0,79})(?::(\w[\w.-]{0,79}))?$/;

/** Who answers for models: a server of ours, or the files of `transom export` beside the page. */
export type Host = "server" | "layout";

/** @returns null when the address names no model. @throws TransomError `invalid-request`. */
export function readAddress(address: URL, host: Host = "server"): LoadRequest | null {
  const query = address.searchParams;
  const source = readSource(address, query.get("model"), query.get("bundle"), host);
  if (source === null) {
    return null;
  }
  const variant = oneOf(query, "variant", ["f16", "f32"]);
  const schedule = oneOf(query, "schedule", ["gpu", "fallback"]);
  const pipelines = oneOf(query, "pipelines", ["ahead", "lazy"]);
  return {
    source,
    overrides: {
      ...(variant && { variant }),
      ...(schedule && { schedule }),
      ...(pipelines && { pipelines }),
    },
  };
}

/** What `transom export` writes into the page (`transom_server/exchange/page_export.py`). */
export function readHost(page: Document): Host {
  const meta = page.querySelector<HTMLMetaElement>('meta[name="transom-models"]');
  return meta?.content === "layout" ? "layout" : "server";
}

function readSource(address: URL, model: string | null, bundle: string | null, host: Host) {
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
    return { kind: "layout", baseUrl, reference } satisfies BundleSource;
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
