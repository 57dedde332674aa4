/** What of a bundle makes a conversation: template, stop tokens, and what its publisher wants. */
import type { BundleReader } from "../store/bundle-reader.ts";
import { MEDIA_TYPES, type Manifest, optionalLayerOf } from "../store/manifest.ts";
import { type ChatConfig, parseChatConfig } from "./chat-config.ts";
import { ChatTemplate } from "./chat-template.ts";
import { type ModelDefaults, readDefaults } from "./model-defaults.ts";
import type { EdgeTokens } from "./model-facts.ts";
import type { Tokenizer } from "./tokenizer.ts";

/** What turns messages into a prompt, and says where an answer ends. */
export interface Talk extends EdgeTokens {
  config: ChatConfig;
  /** Null: a base model, which continues a text. */
  template: ChatTemplate | null;
  /** The template's source, in Jinja. */
  source: string | null;
  defaults: ModelDefaults;
}

/** @throws TransomError `invalid-bundle` naming what is wrong. */
export async function readTalk(
  bundle: BundleReader,
  manifest: Manifest,
  configBytes: Uint8Array,
  tokenizer: Tokenizer,
): Promise<Talk> {
  const config = parseChatConfig(configBytes);
  // A decoder that we do not know is told now, not at the first token.
  tokenizer.startDecoding();
  const read = async (mediaType: string) => {
    const layer = optionalLayerOf(manifest, mediaType);
    return layer === null ? null : bundle.readFile(layer);
  };
  const defaults = readDefaults({
    system: await read(MEDIA_TYPES.system),
    messages: await read(MEDIA_TYPES.messages),
    params: await read(MEDIA_TYPES.params),
  });
  const spelling = (id: number | null) => (id === null ? "" : (tokenizer.spelling(id) ?? ""));
  const edges: EdgeTokens = {
    bos: spelling(config.bosTokenId),
    eos: spelling(config.eosTokenId),
    addsBos: config.bosTokenId !== null && tokenizer.encodeWhole("").includes(config.bosTokenId),
  };
  const layer = await read(MEDIA_TYPES.template);
  const { system, messages, parameters } = defaults;
  if (layer === null) {
    // A model that continues one text has no place for messages.
    sayUnused([
      ...parameters.unused,
      ...(system === null ? [] : ["system"]),
      ...(messages.length === 0 ? [] : ["messages"]),
    ]);
    return { ...edges, config, template: null, source: null, defaults };
  }
  sayUnused(parameters.unused);
  const source = new TextDecoder().decode(layer);
  return { ...edges, config, template: new ChatTemplate(source, edges), source, defaults };
}

/** A publisher's setting that does nothing here is said, not hidden; it stops nobody. */
export function sayUnused(names: readonly string[]): void {
  if (names.length > 0) {
    // eslint-disable-next-line no-console -- for whoever wonders why a setting does nothing
    console.warn(`This engine does not use the model's ${names.join(", ")}.`);
  }
}
