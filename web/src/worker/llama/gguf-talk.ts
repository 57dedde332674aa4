/**
 * What makes a conversation where there is nothing but a GGUF: its own template and tokens, and what
 * a Modelfile has put beside it.
 */
import type { BundleReader } from "../../store/bundle-reader.ts";
import { MEDIA_TYPES, type Manifest, optionalLayerOf } from "../../store/manifest.ts";
import { ChatTemplate } from "../chat-template.ts";
import { type ModelDefaults, readDefaults } from "../model-defaults.ts";
import { type Talk, sayUnused } from "../talk.ts";
import type { GgufTokenizer } from "./gguf-tokenizer.ts";
import type { LlamaModel } from "./llama.ts";

/** llama.cpp's own, as our compiler writes them into a config. */
const TEMPERATURE = 0.8;
const TOP_P = 0.95;
/** Ollama's models keep their templates in Go's language, which we do not read; GGUFs have Jinja. */
const GO_TEMPLATE = /\{\{-?\s*(?:if|range|end|\.|\$)/;

/** @throws TransomError `invalid-bundle` naming what is wrong. */
export async function readGgufDefaults(
  bundle: BundleReader,
  native: Manifest,
): Promise<ModelDefaults> {
  const read = (mediaType: string) => readLayer(bundle, native, mediaType);
  const defaults = readDefaults({
    system: await read(MEDIA_TYPES.system),
    messages: await read(MEDIA_TYPES.messages),
    params: await read(MEDIA_TYPES.params),
  });
  sayUnused(defaults.parameters.unused);
  return defaults;
}

/** @throws TransomError `invalid-bundle` when the template is broken. */
export async function readGgufTalk(
  bundle: BundleReader,
  native: Manifest,
  defaults: ModelDefaults,
  model: LlamaModel,
  tokenizer: GgufTokenizer,
): Promise<Talk> {
  const { bosTokenId, eosTokenId, endTokenIds, trainedContext, addsBos } = model;
  const layer = await readLayer(bundle, native, MEDIA_TYPES.template);
  const own = layer === null ? "" : new TextDecoder().decode(layer);
  const source =
    own === "" || GO_TEMPLATE.test(own) ? model.metadata.get("tokenizer.chat_template") : own;
  const edges = {
    bos: tokenizer.spelling(bosTokenId),
    eos: tokenizer.spelling(eosTokenId),
    addsBos,
  };
  return {
    ...edges,
    config: {
      bosTokenId,
      eosTokenId,
      stopTokenIds: endTokenIds,
      temperature: TEMPERATURE,
      topP: TOP_P,
      contextWindowSize: trainedContext,
      vocabularySize: model.vocabularySize,
    },
    template: source === undefined ? null : new ChatTemplate(source, edges),
    source: source ?? null,
    defaults,
  };
}

async function readLayer(bundle: BundleReader, native: Manifest, mediaType: string) {
  const layer = optionalLayerOf(native, mediaType);
  return layer === null ? null : bundle.readFile(layer);
}
