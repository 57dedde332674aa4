/**
 * Makes `@huggingface/tokenizers` split text as the Rust library does, to the code point.
 *
 * Its `Digits` knows decimal digits only (Rust: every number, also ½ and Ⅷ), and its `ByteLevel`
 * uses JavaScript's idea of white space (which has U+FEFF and lacks U+0085). Its `Split` is exact,
 * so both are written as a `Split`. Found by comparing 642 texts with the Rust library.
 */

export interface PreTokenizerJson {
  type: string;
  pretokenizers?: PreTokenizerJson[];
  individual_digits?: boolean;
  use_regex?: boolean;
  add_prefix_space?: boolean;
  pattern?: { Regex: string };
  behavior?: string;
  invert?: boolean;
}

/** GPT-2's pattern, from the Rust library's ByteLevel. */
const BYTE_LEVEL_PATTERN =
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/** The same pre-tokenizer, with exact Unicode classes. */
export function withUnicodeClasses(step: PreTokenizerJson): PreTokenizerJson {
  if (step.type === "Sequence") {
    return { ...step, pretokenizers: (step.pretokenizers ?? []).map(withUnicodeClasses) };
  }
  if (step.type === "Digits") {
    return isolate(step.individual_digits === true ? "\\p{N}" : "\\p{N}+");
  }
  // A prefix space is added before the split; as two steps it would come after, at every piece.
  if (step.type === "ByteLevel" && step.use_regex !== false && step.add_prefix_space === false) {
    const pretokenizers = [isolate(BYTE_LEVEL_PATTERN), { ...step, use_regex: false }];
    return { type: "Sequence", pretokenizers };
  }
  return step;
}

function isolate(regex: string): PreTokenizerJson {
  return { type: "Split", pattern: { Regex: regex }, behavior: "Isolated", invert: false };
}
