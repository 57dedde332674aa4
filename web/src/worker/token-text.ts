/** Tokens as text, special ones by their names; and whether there are such tokens. Pure. */
import { TransomError } from "../errors.ts";
import type { TokenBytes } from "./detokenizer.ts";

/** @throws TransomError `invalid-request` naming the first token that the vocabulary has not. */
export function requireTokens(size: number, tokenIds: readonly number[]): void {
  const unknown = tokenIds.find((id) => !Number.isSafeInteger(id) || id < 0 || id >= size);
  if (unknown !== undefined) {
    throw new TransomError(
      "invalid-request",
      `There is no token ${unknown}; this model has ${size}.`,
    );
  }
}

/** @throws TransomError as `requireTokens`. */
export function textOf(table: TokenBytes, tokenIds: readonly number[]): string {
  requireTokens(table.size, tokenIds);
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  const pieces = tokenIds.map((id) =>
    decoder.decode(table.specials.get(id) ?? table.bytesOrNone(id), { stream: true }),
  );
  return pieces.join("") + decoder.decode();
}
