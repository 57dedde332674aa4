/** The parts of `mlc-chat-config.json` that a conversation needs. */
import { TransomError } from "../errors.ts";
import type { Task } from "../protocol.ts";
import { Reader } from "../store/json.ts";

/** Larger than any vocabulary published. */
const MAX_TOKEN_ID = 2 ** 24;
/** A model has a handful of tokens that end a turn. */
const MAX_STOP_TOKENS = 64;
/** A task is one word. */
const MAX_TASK_LENGTH = 64;

export interface ChatConfig {
  bosTokenId: number | null;
  eosTokenId: number | null;
  stopTokenIds: readonly number[];
  temperature: number;
  topP: number;
  /** Tokens that the model's publisher wants the KV cache to hold. */
  contextWindowSize: number;
  /** Places in the logits; null where it does not say. */
  vocabularySize: number | null;
}

/** What the model is for; configs that do not say are older than embedding models. */
export function parseTask(bytes: Uint8Array): Task {
  const field = parse(bytes).field("model_task");
  const task = field.isMissing ? "chat" : field.string(MAX_TASK_LENGTH);
  if (task !== "chat" && task !== "embedding") {
    throw field.error("must be chat or embedding");
  }
  return task;
}

/** @throws TransomError `invalid-bundle` naming the field. */
export function parseChatConfig(bytes: Uint8Array): ChatConfig {
  const root = parse(bytes);
  const template = root.field("conv_template");
  const eos = tokenIds(root.field("eos_token_id"));
  const stops = template.isMissing ? [] : tokenIds(template.field("stop_token_ids"));
  const stopTokenIds = [...new Set([...eos, ...stops])];
  if (stopTokenIds.length === 0) {
    throw root.error("names no token that ends an answer (eos_token_id)");
  }
  return {
    bosTokenId: tokenIds(root.field("bos_token_id"))[0] ?? null,
    eosTokenId: eos[0] ?? null,
    stopTokenIds,
    temperature: optionalNumber(root.field("temperature"), 0, 100) ?? 1,
    topP: optionalNumber(root.field("top_p"), 0, 1) ?? 1,
    contextWindowSize: optionalNumber(root.field("context_window_size"), 2, Infinity) ?? Infinity,
    vocabularySize: optionalNumber(root.field("vocab_size"), 1, MAX_TOKEN_ID),
  };
}

function parse(bytes: Uint8Array): Reader {
  const fail = (message: string) => new TransomError("invalid-bundle", message);
  return Reader.parse(bytes, "mlc-chat-config.json", fail);
}

/** MLC writes one id or a list of them. */
function tokenIds(row: Reader): number[] {
  if (row.isMissing) {
    return [];
  }
  const rows = Array.isArray(row.raw()) ? row.array(MAX_STOP_TOKENS) : [row];
  return rows.map((id) => id.integer(0, MAX_TOKEN_ID));
}

function optionalNumber(row: Reader, min: number, max: number): number | null {
  return row.isMissing ? null : row.number(min, max);
}
