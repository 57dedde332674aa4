/**
 * Names of models, as the store takes them: `[host/][namespace/]model[:tag]`
 * (models/transom_models/name.py). Pure.
 */
import type { BundleSource } from "../protocol.ts";

const DEFAULT_HOST = "localhost";
const NAME =
  /^(?:(?:(\w[\w.:-]{0,254})\/)?(\w[\w-]{0,79})\/)?(\w[\w.-]{0,79})(?::(\w[\w.-]{0,79}))?$/;

/** A name with all its parts, `library/smollm2:latest`; null for what is no name. */
export function wholeName(text: string): string | null {
  const [, host = DEFAULT_HOST, namespace = "library", model, tag = "latest"] =
    NAME.exec(text) ?? [];
  if (model === undefined) {
    return null;
  }
  return `${host === DEFAULT_HOST ? "" : `${host}/`}${namespace}/${model}:${tag}`;
}

/** Names are one model that differ in case only. */
export function isSameName(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

/**
 * What the API calls the model of a source. Folders and files of this device may be called anything:
 * what cannot stand in a name becomes "-".
 *
 * @param shown what people call it, where the source does not say: of an import.
 * @returns null where nobody says.
 */
export function nameOfSource(source: BundleSource, shown: string | null): string | null {
  switch (source.kind) {
    case "registry":
      return wholeName(`${source.repository}:${source.reference}`);
    case "layout":
      return wholeName(source.reference) ?? fitted(source.reference);
    case "folder":
      return fitted(new URL(source.baseUrl).pathname.split("/").findLast(Boolean) ?? "bundle");
    case "imported":
      return shown === null ? null : (wholeName(shown) ?? fitted(shown));
  }
}

function fitted(text: string): string | null {
  return wholeName(
    text
      .replace(/[^\w.-]+/g, "-")
      .replace(/^[^\w]+/, "")
      .slice(0, 80),
  );
}
