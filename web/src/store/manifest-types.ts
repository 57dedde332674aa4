/**
 * Types of the store's JSON, and the names and caps that both sides share. Generated from the
 * Python dataclasses by `python -m transom_models.schema`; change those.
 */

export const MEDIA_TYPES = {
  index: "application/vnd.oci.image.index.v1+json",
  manifest: "application/vnd.oci.image.manifest.v1+json",
  config: "application/vnd.transom.config.v1+json",
  shard: "application/vnd.transom.shard.v1",
  library: "application/vnd.transom.library.v1+wasm",
  program: "application/vnd.transom.program.v1+json",
  tensorCache: "application/vnd.transom.tensor-cache.v1+json",
  tokenizer: "application/vnd.transom.tokenizer.v1+json",
  nativeConfig: "application/vnd.docker.container.image.v1+json",
  gguf: "application/vnd.ollama.image.model",
  adapter: "application/vnd.ollama.image.adapter",
  template: "application/vnd.ollama.image.template",
  system: "application/vnd.ollama.image.system",
  params: "application/vnd.ollama.image.params",
  messages: "application/vnd.ollama.image.messages",
  license: "application/vnd.ollama.image.license",
} as const;

export const ANNOTATIONS = {
  title: "org.opencontainers.image.title",
  refName: "org.opencontainers.image.ref.name",
  maxFile: "dev.transom.layout.max-file",
  licenses: "org.opencontainers.image.licenses",
  schedule: "dev.transom.schedule",
} as const;

export const LIMITS = {
  manifestBytes: 4194304,
  descriptors: 4096,
  annotations: 1024,
  annotationChars: 16384,
  stops: 64,
  stopChars: 256,
  messages: 1024,
} as const;

/** What a row of an index runs on: `native/gguf`, `browser/webgpu/f16`, `browser/webgpu/f32`. */
export interface PlatformJson {
  /** native or browser */
  os: string;
  /** gguf or webgpu */
  architecture: string;
  /** f16 or f32: the type that a browser computes in */
  variant?: string | null;
}

/** One row of a manifest or an index: which bytes, how many (`size`), and what they are. */
export interface DescriptorJson {
  mediaType: string;
  digest: string;
  /** bytes */
  size: number;
  annotations?: Record<string, string>;
  platform?: PlatformJson;
}

/** One platform of a model: its config and its layers, in order. */
export interface ManifestJson {
  schemaVersion: 2;
  mediaType?: string;
  config: DescriptorJson;
  layers: DescriptorJson[];
  annotations?: Record<string, string>;
  manifests?: never;
}

/** A model: one row per platform, each naming that platform's manifest. */
export interface IndexJson {
  schemaVersion: 2;
  mediaType?: string;
  manifests: DescriptorJson[];
  annotations?: Record<string, string>;
  config?: never;
  layers?: never;
}

/** Sampling and loading options of a model; other names are passed over. */
export interface ParamsJson {
  /** 0 takes the likeliest token */
  temperature?: number;
  /** likeliest tokens kept; 0 or less keeps all */
  top_k?: number;
  /** share of probability kept */
  top_p?: number;
  /** least probability, as a share of the likeliest's */
  min_p?: number;
  /** locally typical sampling; 1 is off */
  typical_p?: number;
  /** negative: another one each time */
  seed?: number;
  /** tokens looked back; -1 is the context */
  repeat_last_n?: number;
  /** 1 is off */
  repeat_penalty?: number;
  /** 0 is off */
  presence_penalty?: number;
  /** 0 is off */
  frequency_penalty?: number;
  /** tokens at most; -1 no end, -2 the context */
  num_predict?: number;
  /** first tokens kept when the context shifts */
  num_keep?: number;
  /** texts that end the answer */
  stop?: string | string[];
  /** context in tokens */
  num_ctx?: number;
  /** prompt tokens at a time */
  num_batch?: number;
  /** layers on the GPU; -1 as many as fit */
  num_gpu?: number;
  /** number of the GPU used */
  main_gpu?: number;
  /** map the file instead of reading it */
  use_mmap?: boolean;
  /** processor threads; 0 decides itself */
  num_thread?: number;
  /** tokens drafted a step; 0 is off */
  draft_num_predict?: number;
}
