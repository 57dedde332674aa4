/** A bundle's source, wherever it is, as something to read from. */
import type { BundleSource } from "../protocol.ts";
import { type OpenOptions, openBundle } from "./bundle.ts";
import type { BundleReader } from "./bundle-reader.ts";
import { locate } from "./location.ts";
import { StoredBundle, importedId } from "./stored-bundle.ts";
import { isDigest } from "./verify.ts";

export async function openSource(
  source: BundleSource,
  options: OpenOptions,
): Promise<BundleReader> {
  return source.kind === "imported"
    ? StoredBundle.open(options.keeping, source.id, options.meter)
    : openBundle(locate(source), options);
}

/** What the shelf calls the model of a source. */
export function idOf(source: BundleSource): string {
  if (source.kind === "imported") {
    return isDigest(source.id) ? importedId(source.id) : source.id;
  }
  return locate(source).id;
}
