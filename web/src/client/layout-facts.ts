/**
 * What the small files of a static host's model tell about it: index, manifests, configs, template. The
 * same as the server reads from them (`model_details.py`), in Ollama's words. They are told to people
 * and decide nothing, so that they are not hashed; whoever loads a model reads them again.
 */
import type { ModelRow } from "../api-protocol.ts";

/** A blob by its digest as JSON, or as text. */
export interface BlobSource {
  json(digest: string): Promise<unknown>;
  text(digest: string): Promise<string>;
}

export type LayoutFacts = Pick<ModelRow, "bytes" | "details" | "capabilities"> & {
  /** SPDX expression; null: its manifests say none. */
  license: string | null;
};

type Dict = Record<string, unknown>;

const NATIVE_CONFIG = "application/vnd.docker.container.image.v1+json";
const TEMPLATE = "application/vnd.ollama.image.template";
const LICENSES = "org.opencontainers.image.licenses";
const ARCHITECTURE = "dev.transom.architecture";
/** A template is one file of many; the longest published ones are below 50 KiB. */
const MAX_TEMPLATE_BYTES = 1024 * 1024;
/** Variables that a template reads only if it can do the thing. */
const TOOLS = /\btools\b|\.Tools\b/;
const THINKING = /<think>|reasoning_content|enable_thinking|\.Thinking\b/;
const INSERT = /\bsuffix\b|\.Suffix\b/;
/** A Go template that became Jinja prepares all of it in front; what its body uses counts. */
const TRANSLATED = "{#- Translated from a Go template";
const BODY_TOOLS = /go_tools\(|(?<!set )\bgo\.tools\b/;
const BODY_THINKING = /<think>|\b(item_\d+|turn)\.thinking\b/;

interface Document {
  manifest: Dict;
  config: Dict;
  layers: readonly Dict[];
}

/**
 * @param row of `index.json`: an index, or a single manifest.
 * @throws whatever `blobs` throws; of files that are none of ours, nothing is told.
 */
export async function readLayoutFacts(row: Dict, blobs: BlobSource): Promise<LayoutFacts> {
  const top = dictOf(await blobs.json(textOf(row, "digest")));
  const rows = listOf(top, "manifests");
  const sizes = new Map<string, number>();
  const count = (each: Dict) => sizes.set(textOf(each, "digest"), numberOf(each, "size") ?? 0);
  count(row);
  rows.forEach(count);
  const manifests =
    rows.length === 0
      ? [top]
      : await Promise.all(
          rows.map(async (each) => dictOf(await blobs.json(textOf(each, "digest")))),
        );
  const documents = await Promise.all(
    manifests.map(async (manifest): Promise<Document> => {
      const config = dictOf(manifest["config"]);
      const layers = listOf(manifest, "layers");
      [config, ...layers].forEach(count);
      return { manifest, config: dictOf(await blobs.json(textOf(config, "digest"))), layers };
    }),
  );
  const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
  const native = documents.find(
    ({ manifest }) => textOf(dictOf(manifest["config"]), "mediaType") === NATIVE_CONFIG,
  );
  const [first] = documents;
  return {
    bytes,
    details:
      native !== undefined
        ? nativeDetails(native)
        : first === undefined
          ? {}
          : browserDetails(first),
    capabilities: await capabilitiesOf(documents, native ?? first, blobs),
    license:
      documents
        .map(({ manifest }) => textOf(dictOf(manifest["annotations"]), LICENSES))
        .find((license) => license !== "") ?? null,
  };
}

function nativeDetails({ config }: Document): ModelRow["details"] {
  const family = textOf(config, "model_family");
  const families = config["model_families"];
  return {
    format: textOf(config, "model_format") || "gguf",
    family,
    families: Array.isArray(families) ? families.map(String) : [family],
    parameter_size: textOf(config, "model_type"),
    quantization_level: textOf(config, "file_type"),
    context_length: numberOf(config, "context_length"),
    embedding_length: numberOf(config, "embedding_length"),
  };
}

function browserDetails({ manifest, config }: Document): ModelRow["details"] {
  const family =
    textOf(dictOf(manifest["annotations"]), ARCHITECTURE) || textOf(config, "model_type");
  return {
    format: "webgpu",
    family,
    families: family === "" ? [] : [family],
    parameter_size: "",
    quantization_level: textOf(config, "quantization"),
    context_length: numberOf(config, "context_window_size"),
    embedding_length: numberOf(dictOf(config["model_config"]), "embedding_length"),
  };
}

async function capabilitiesOf(
  documents: readonly Document[],
  told: Document | undefined,
  blobs: BlobSource,
): Promise<string[]> {
  if (documents.some(({ config }) => config["model_task"] === "embedding")) {
    return ["embedding"];
  }
  const layer = [told, ...documents]
    .flatMap((document) => document?.layers ?? [])
    .find((each) => textOf(each, "mediaType") === TEMPLATE);
  const isShort = layer !== undefined && (numberOf(layer, "size") ?? 0) <= MAX_TEMPLATE_BYTES;
  const template = isShort ? await blobs.text(textOf(layer, "digest")) : "";
  const isTranslated = template.startsWith(TRANSLATED);
  const found = ["completion"];
  for (const [word, pattern] of [
    ["tools", isTranslated ? BODY_TOOLS : TOOLS],
    ["insert", INSERT],
    ["thinking", isTranslated ? BODY_THINKING : THINKING],
  ] as const) {
    if (pattern.test(template)) {
      found.push(word);
    }
  }
  return found;
}

function dictOf(value: unknown): Dict {
  return typeof value === "object" && value !== null ? (value as Dict) : {};
}

function listOf(value: Dict, field: string): Dict[] {
  const rows = value[field];
  return Array.isArray(rows) ? rows.map(dictOf) : [];
}

function textOf(value: Dict, field: string): string {
  const text = value[field];
  return typeof text === "string" ? text : "";
}

function numberOf(value: Dict, field: string): number | null {
  const number = value[field];
  return typeof number === "number" ? number : null;
}
