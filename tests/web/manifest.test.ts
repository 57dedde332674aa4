/** Each lie stands beside the smallest truth: the same JSON, one thing bent. */
import { describe, expect, it } from "vitest";

import { ANNOTATIONS } from "../../web/src/store/manifest-types.ts";
import {
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  TITLE,
  layerOf,
  parseIndex,
  parseManifest,
} from "../../web/src/store/manifest.ts";
import { type ManifestJson, bytesOf, indexJson, manifestJson } from "./bundle-fixture.ts";

const MAX_FILE = ANNOTATIONS.maxFile;

describe("parseIndex", () => {
  it("reads platforms", async () => {
    const index = parseIndex(bytesOf(await indexJson()));
    expect(index.manifests.map(({ platform }) => platform)).toEqual([
      { os: "native", architecture: "gguf", variant: null },
      { os: "browser", architecture: "webgpu", variant: "f16" },
      { os: "browser", architecture: "webgpu", variant: "f32" },
    ]);
  });

  it("tolerates top-level keys it does not know", async () => {
    const extended = { ...(await indexJson()), artifactType: "x", subject: { a: 1 } };
    expect(parseIndex(bytesOf(extended)).manifests).toHaveLength(3);
  });

  it("reads the largest file of a layout, and takes no other number for one", async () => {
    const limited = async (text: string) =>
      parseIndex(bytesOf({ ...(await indexJson()), annotations: { [MAX_FILE]: text } }));
    expect(parseIndex(bytesOf(await indexJson())).maxFileBytes).toBeNull();
    expect((await limited("4194304")).maxFileBytes).toBe(4194304);
    for (const text of ["4194303", "-1", "4e9", "", " 4194304", "1".repeat(16)]) {
      await expect(limited(text)).rejects.toThrow(/needs a number of bytes from 4 MiB on/);
    }
  });

  it.each<[string, unknown, RegExp]>([
    ["a list", [], /index must be an object/],
    ["a string", '"x"', /index must be an object/],
    ["cut off", '{"schemaVersion": 2', /index is not valid JSON/],
    ["schema 1", { schemaVersion: 1, manifests: [] }, /schemaVersion must be 2, not 1/],
    ["no manifests", { schemaVersion: 2 }, /manifests must be a list/],
    [
      "another media type",
      { schemaVersion: 2, mediaType: MEDIA_TYPES.manifest, manifests: [] },
      /mediaType must be/,
    ],
    [
      "4097 platforms",
      { schemaVersion: 2, manifests: Array.from({ length: 4097 }, () => ({})) },
      /more than 4096 rows/,
    ],
  ])("refuses %s", (_, value, message) => {
    expect(() => parseIndex(bytesOf(value))).toThrow(message);
  });

  it("refuses malformed UTF-8", () => {
    expect(() => parseIndex(Uint8Array.of(0x7b, 0xff, 0x7d))).toThrow(/not valid JSON in UTF-8/);
  });

  it("refuses more bytes than a registry allows, without parsing them", () => {
    const bytes = new Uint8Array(MAX_MANIFEST_BYTES + 1);
    expect(() => parseIndex(bytes)).toThrow(/index is larger than/);
  });
});

describe("parseManifest", () => {
  it("reads config and layers with their titles", async () => {
    const manifest = parseManifest(bytesOf(await manifestJson()));
    expect(manifest.config.title).toBe("mlc-chat-config.json");
    expect(manifest.layers.map(({ title }) => title)).toEqual([
      "params_shard_0.bin",
      "tensor-cache.json",
      "library-f32.wasm",
      "library-f32-fallback.wasm",
    ]);
    expect(layerOf(manifest, MEDIA_TYPES.tensorCache).title).toBe("tensor-cache.json");
  });

  type Bend = (manifest: ManifestJson) => void;
  const layer = (change: (layer: ManifestJson["layers"][number]) => void): Bend => {
    return ({ layers: [first] }) => {
      if (first !== undefined) {
        change(first);
      }
    };
  };
  const title = (text: string) =>
    layer((row) => {
      row.annotations = { [TITLE]: text };
    });
  const size = (bytes: number) =>
    layer((row) => {
      row.size = bytes;
    });
  const digest = (text: string) =>
    layer((row) => {
      row.digest = text;
    });

  it.each<[string, Bend, RegExp]>([
    ["a size below zero", size(-1), /layers\[0\]: size must be between/],
    ["a size that is no whole number", size(1.5), /size must be a whole number/],
    ["a blob over 1 GiB", size(2 ** 30 + 1), /size must be between/],
    ["a digest in capitals", digest(`sha256:${"A".repeat(64)}`), /digest must be sha256/],
    ["a short digest", digest("sha256:abc"), /digest must be sha256/],
    ["another algorithm", digest(`md5:${"a".repeat(64)}`), /digest must be sha256/],
    ["a digest with a path in it", digest(`sha256:../${"a".repeat(61)}`), /digest must be sha256/],
    ["a title that climbs", title("../index.html"), /plain file name/],
    ["a title with a folder", title("a/b"), /plain file name/],
    ["a hidden title", title(".env"), /plain file name/],
    ["an empty title", title(""), /plain file name/],
    [
      "no title",
      layer((row) => {
        delete row.annotations;
      }),
      /plain file name/,
    ],
    [
      "annotations that are a list",
      layer((row) => {
        row.annotations = [] as unknown as Record<string, string>;
      }),
      /annotations must be an object/,
    ],
    ["the same title twice", title("tensor-cache.json"), /names tensor-cache.json twice/],
    [
      "an inherited key as a field",
      (manifest) => {
        const config: unknown = JSON.parse('{"__proto__": {"size": 1}}');
        Object.assign(manifest, { config });
      },
      /config: digest must be a string/,
    ],
  ])("refuses %s", async (_, bend, message) => {
    const manifest = await manifestJson();
    bend(manifest);
    expect(() => parseManifest(bytesOf(manifest))).toThrow(message);
  });

  it("knows when a layer that must be one is missing or double", async () => {
    const manifest = parseManifest(bytesOf(await manifestJson()));
    expect(() => layerOf(manifest, MEDIA_TYPES.tokenizer)).toThrow(/no layer of/);
    expect(() => layerOf(manifest, MEDIA_TYPES.library)).toThrow(/more than one layer of/);
  });
});
