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
  /** Where the index is, mirrors last: the first one that answers is right, for a tag moves. */
  indexUrls: readonly string[];
  /** Where that index is of many models: the reference of this one's row. */
  reference: string | null;
  /** Where a document is that a digest names, mirrors last. */
  manifestUrls(row: Descriptor): readonly string[];
  /** Where the file is, mirrors last. */
  blobUrls(file: FileDescriptor): readonly string[];
}

export function locate(source: NetworkSource): Location {
  const bases = [source.baseUrl, ...(source.mirrors ?? [])];
  switch (source.kind) {
    case "registry": {
      const { repository, reference } = source;
      const inRoots = addressesIn(bases.map((base) => new URL(`v2/${repository}/`, base)));
      const shortName = repository.replace(/^library\//, "");
      const indexUrls = inRoots(`manifests/${reference}`);
      return {
        name: reference === "latest" ? shortName : `${shortName}:${reference}`,
        id: first(indexUrls),
        indexUrls,
        reference: null,
        manifestUrls: (row) => inRoots(`manifests/${row.digest}`),
        blobUrls: (file) => inRoots(`blobs/${file.digest}`),
      };
    }
    case "folder": {
      const root = folder(source.baseUrl);
      const inRoots = addressesIn(bases.map(folder));
      const indexUrls = inRoots("index.json");
      return {
        name: root.pathname.split("/").filter(Boolean).at(-1) ?? root.host,
        id: first(indexUrls),
        indexUrls,
        reference: null,
        manifestUrls: (row) => inRoots(`manifests/${row.platform?.variant ?? "native"}.json`),
        blobUrls: (file) => inRoots(file.title),
      };
    }
    case "layout": {
      const inRoots = addressesIn(bases.map(folder));
      const blobUrls = ({ digest }: Descriptor) => inRoots(`blobs/sha256/${hexOf(digest)}`);
      const indexUrls = inRoots("index.json");
      return {
        name: source.reference.replace(/:latest$/, ""),
        id: `${first(indexUrls)}#${source.reference}`,
        indexUrls,
        reference: source.reference,
        manifestUrls: blobUrls,
        blobUrls,
      };
    }
  }
}

function addressesIn(roots: readonly URL[]): (path: string) => readonly string[] {
  return (path) => roots.map((root) => new URL(path, root).href);
}

function first(urls: readonly string[]): string {
  return urls[0] ?? "";
}

function folder(baseUrl: string): URL {
  return new URL(baseUrl.replace(/\/*$/, "/"));
}
