/**
 * Turns a bundle's source into addresses: a registry and an image layout name blobs by digest, a
 * folder by title.
 */
import type { BundleSource } from "../protocol.ts";
import type { Descriptor, FileDescriptor } from "./manifest.ts";
import { hexOf } from "./verify.ts";

export interface Location {
  /** What people call the model. */
  name: string;
  indexUrl: string;
  /** Where the index at `indexUrl` is of many models: the reference of this one's row. */
  reference: string | null;
  manifestUrl(row: Descriptor): string;
  blobUrl(file: FileDescriptor): string;
}

export function locate(source: BundleSource): Location {
  switch (source.kind) {
    case "registry": {
      const { repository, reference } = source;
      const root = new URL(`v2/${repository}/`, source.baseUrl);
      const shortName = repository.replace(/^library\//, "");
      return {
        name: reference === "latest" ? shortName : `${shortName}:${reference}`,
        indexUrl: new URL(`manifests/${reference}`, root).href,
        reference: null,
        manifestUrl: (row) => new URL(`manifests/${row.digest}`, root).href,
        blobUrl: (file) => new URL(`blobs/${file.digest}`, root).href,
      };
    }
    case "folder": {
      const root = new URL(source.baseUrl.replace(/\/*$/, "/"));
      return {
        name: root.pathname.split("/").filter(Boolean).at(-1) ?? root.host,
        indexUrl: new URL("index.json", root).href,
        reference: null,
        manifestUrl: (row) =>
          new URL(`manifests/${row.platform?.variant ?? "native"}.json`, root).href,
        blobUrl: (file) => new URL(file.title, root).href,
      };
    }
    case "layout": {
      const root = new URL(source.baseUrl.replace(/\/*$/, "/"));
      const blobUrl = ({ digest }: Descriptor) =>
        new URL(`blobs/sha256/${hexOf(digest)}`, root).href;
      return {
        name: source.reference.replace(/:latest$/, ""),
        indexUrl: new URL("index.json", root).href,
        reference: source.reference,
        manifestUrl: blobUrl,
        blobUrl,
      };
    }
  }
}
