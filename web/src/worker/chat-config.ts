/** The parts of `mlc-chat-config.json` that a conversation needs. */
import { TransomError } from "../errors.ts";
import { Reader } from "../store/json.ts";

/** Larger than any vocabulary published. */
const MAX_TOKEN_ID = 2 ** 24;
/** A model has a handful of tokens that end a turn. */
const MAX_STOP_TOKENS = 64;

export interface ChatConfig {
  bosTokenId: number | null;
  eosTokenId: number | null;
  stopTokenIds: readonly number[];
  temperature: number;
  topP: number;
}

/** @throws TransomError `invalid-bundle` naming the field. */
export function parseChatConfig(bytes: Uint8Array): ChatConfig {
  const fail = (message: string) => new TransomError("invalid-bundle", message);
  const root = Reader.parse(bytes, "mlc-chat-config.json", fail);
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
  };
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
