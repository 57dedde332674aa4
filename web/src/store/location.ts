/**
 * Turns a bundle's source into addresses: a registry and an image layout name blobs by digest, a
 * folder by title.
 */
import type { NetworkSource } from "../protocol.ts";
import type { Descriptor, FileDescriptor } from "./manifest.ts";
import { hexOf } from "./verify.ts";

export interface Location {
  /** What people call the model. */
  name: string;
  /** What this origin calls it: two hosts may each have a model of the same name. */
  id: string;
  indexUrl: string;
  /** Where the index at `indexUrl` is of many models: the reference of this one's row. */
  reference: string | null;
  manifestUrl(row: Descriptor): string;
  /** Where the file is, mirrors last. */
  blobUrls(file: FileDescriptor): readonly string[];
}

export function locate(source: NetworkSource): Location {
  const bases = [source.baseUrl, ...(source.mirrors ?? [])];
  switch (source.kind) {
    case "registry": {
      const { repository, reference } = source;
      const roots = bases.map((base) => new URL(`v2/${repository}/`, base));
      const shortName = repository.replace(/^library\//, "");
      const indexUrl = new URL(`manifests/${reference}`, roots[0]).href;
      return {
        name: reference === "latest" ? shortName : `${shortName}:${reference}`,
        id: indexUrl,
        indexUrl,
        reference: null,
        manifestUrl: (row) => new URL(`manifests/${row.digest}`, roots[0]).href,
        blobUrls: (file) => roots.map((root) => new URL(`blobs/${file.digest}`, root).href),
      };
    }
    case "folder": {
      const roots = bases.map(folder);
      const [root = folder(source.baseUrl)] = roots;
      const indexUrl = new URL("index.json", root).href;
      return {
        name: root.pathname.split("/").filter(Boolean).at(-1) ?? root.host,
        id: indexUrl,
        indexUrl,
        reference: null,
        manifestUrl: (row) =>
          new URL(`manifests/${row.platform?.variant ?? "native"}.json`, root).href,
        blobUrls: (file) => roots.map((each) => new URL(file.title, each).href),
      };
    }
    case "layout": {
      const roots = bases.map(folder);
      const blobUrls = ({ digest }: Descriptor) =>
        roots.map((root) => new URL(`blobs/sha256/${hexOf(digest)}`, root).href);
      const indexUrl = new URL("index.json", roots[0]).href;
      return {
        name: source.reference.replace(/:latest$/, ""),
        id: `${indexUrl}#${source.reference}`,
        indexUrl,
        reference: source.reference,
        manifestUrl: (row) => blobUrls(row)[0] ?? "",
        blobUrls,
      };
    }
  }
}

function folder(baseUrl: string): URL {
  return new URL(baseUrl.replace(/\/*$/, "/"));
}
