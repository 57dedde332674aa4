/** The terms of a model, where its bundle carries their words. */
import type { BundleReader } from "../store/bundle-reader.ts";
import { type FileDescriptor, MEDIA_TYPES, type Manifest } from "../store/manifest.ts";

/** The longest published ones are tens of kilobytes; the server takes as much and as many. */
const MAX_LICENCE_BYTES = 1024 * 1024;
const MAX_LICENCES = 16;

/** The layers with its words. */
export function licencesOf({ layers }: Pick<Manifest, "layers">): FileDescriptor[] {
  return layers
    .filter(({ mediaType, size }) => mediaType === MEDIA_TYPES.license && size <= MAX_LICENCE_BYTES)
    .slice(0, MAX_LICENCES);
}

/**
 * All of them, as the server tells them; null where there are none. Nobody is kept from a model by a
 * text that does not come now: then it is null, too.
 */
export async function readLicence(
  bundle: Pick<BundleReader, "readFile">,
  manifest: Pick<Manifest, "layers">,
): Promise<string | null> {
  const texts: string[] = [];
  try {
    for (const layer of licencesOf(manifest)) {
      texts.push(new TextDecoder().decode(await bundle.readFile(layer)));
    }
  } catch {
    return null;
  }
  const distinct = [...new Set(texts)].filter((text) => text.trim() !== "");
  return distinct.length === 0 ? null : distinct.join("\n\n");
}
