/**
 * The page's tokenizer from the command line: for comparisons with llama.cpp.
 *
 *   node tokenize.mjs TOKENIZER_JSON < lines.json
 *
 * stdin is a JSON list of texts; prints one JSON object: `ids` of each text, `texts` that these ids
 * become piece by piece, `whole` (ids with the special tokens that the model puts around a text) of
 * the first ones.
 */
import { readFileSync } from "node:fs";

import { TransomError, describe } from "../errors.ts";
import { Tokenizer } from "../worker/tokenizer.ts";

/** Enough to see what is put around a text. */
const WHOLE_TEXTS = 100;

function decode(tokenizer: Tokenizer, ids: readonly number[]): string {
  const decoder = tokenizer.startDecoding();
  return ids.map((id) => decoder.push(id)).join("") + decoder.finish();
}

function main(): void {
  const [path] = process.argv.slice(2);
  if (path === undefined) {
    throw new TransomError("invalid-request", "usage: tokenize.mjs TOKENIZER_JSON < lines.json");
  }
  const lines = JSON.parse(readFileSync(0, "utf8")) as unknown;
  if (!Array.isArray(lines) || !lines.every((line) => typeof line === "string")) {
    throw new TransomError("invalid-request", "stdin must be a JSON list of texts.");
  }
  const tokenizer = new Tokenizer(readFileSync(path));
  const ids = lines.map((line) => tokenizer.encode(line));
  const texts = ids.map((row) => decode(tokenizer, row));
  const whole = lines.slice(0, WHOLE_TEXTS).map((line) => tokenizer.encodeWhole(line));
  process.stdout.write(JSON.stringify({ ids, texts, whole }) + "\n");
}

try {
  main();
} catch (error) {
  process.stderr.write(`error: ${describe(error)}\n`);
  process.exitCode = 2;
}
