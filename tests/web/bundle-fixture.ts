/** A tiny bundle in memory, honest by default; tests bend one thing at a time. */
import type {
  ManifestJson as AnyManifestJson,
  DescriptorJson,
} from "../../web/src/store/manifest-types.ts";
import {
  type FileDescriptor,
  MEDIA_TYPES,
  SCHEDULE,
  TITLE,
  parseManifest,
} from "../../web/src/store/manifest.ts";
import { type Bytes, digestOf } from "../../web/src/store/verify.ts";

export function bytesOf(value: unknown): Bytes {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return new TextEncoder().encode(text);
}

/** Bytes that differ from position to position, so that a shifted copy is noticed. */
export function patternBytes(size: number): Bytes {
  return Uint8Array.from({ length: size }, (_, index) => (index * 31 + (index >> 8)) & 0xff);
}

export async function describeFile(
  title: string,
  mediaType: string,
  bytes: Bytes,
  annotations: Record<string, string> = {},
): Promise<DescriptorJson> {
  return {
    mediaType,
    digest: await digestOf(bytes),
    size: bytes.byteLength,
    annotations: { [TITLE]: title, ...annotations },
  };
}

/** Honest manifests say what they are. */
export interface ManifestJson extends AnyManifestJson {
  mediaType: string;
}

/** One shard of 512 bytes with two tensors. */
export const SHARD = patternBytes(512);

export async function tensorCacheJson() {
  return {
    metadata: {},
    records: [
      {
        dataPath: "params_shard_0.bin",
        format: "raw-shard",
        nbytes: SHARD.byteLength,
        sha256: (await digestOf(SHARD)).slice("sha256:".length),
        records: [tensor("a.q", [4, 8], "uint32", 0, 128), tensor("b", [16], "float32", 256, 64)],
      },
    ],
  };
}

function tensor(name: string, shape: number[], dtype: string, byteOffset: number, nbytes: number) {
  return { name, shape, dtype, format: "raw", nbytes, byteOffset };
}

export async function manifestJson(): Promise<ManifestJson> {
  const cache = bytesOf(await tensorCacheJson());
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: await describeFile("mlc-chat-config.json", MEDIA_TYPES.config, bytesOf({})),
    layers: [
      await describeFile("params_shard_0.bin", MEDIA_TYPES.shard, SHARD),
      await describeFile("tensor-cache.json", MEDIA_TYPES.tensorCache, cache),
      await describeFile("library-f32.wasm", MEDIA_TYPES.library, bytesOf("wasm"), {
        [SCHEDULE]: "gpu",
      }),
      await describeFile("library-f32-fallback.wasm", MEDIA_TYPES.library, bytesOf("wasm 2"), {
        [SCHEDULE]: "fallback",
      }),
    ],
  };
}

export async function indexJson() {
  const row = async (os: string, architecture: string, variant?: string) => ({
    mediaType: MEDIA_TYPES.manifest,
    digest: await digestOf(bytesOf(`${os} ${variant ?? ""}`)),
    size: 10,
    platform: { os, architecture, ...(variant !== undefined && { variant }) },
  });
  return {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [
      await row("native", "gguf"),
      await row("browser", "webgpu", "f16"),
      await row("browser", "webgpu", "f32"),
    ],
  };
}

/** The shard, as a reader of the manifest finds it. */
export async function shardFile(): Promise<FileDescriptor> {
  const manifest = parseManifest(bytesOf(await manifestJson()));
  const file = manifest.layers.find(({ mediaType }) => mediaType === MEDIA_TYPES.shard);
  if (file === undefined) {
    throw new Error("the fixture has no shard");
  }
  return file;
}
