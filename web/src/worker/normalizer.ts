/**
 * Two normalisers of `tokenizer.json` that `@huggingface/tokenizers` does not do exactly.
 *
 * Its `Prepend` also makes something of an empty text (Rust and llama.cpp leave it alone), and its
 * `Precompiled` guesses SentencePiece's character map (NFKC, some controls) where the file holds the
 * map itself. The other steps are the library's own.
 */
import { SequenceNormalizer } from "@huggingface/tokenizers";

import { CharacterMap } from "./character-map.ts";

export interface NormalizerJson {
  type: string;
  normalizers?: NormalizerJson[];
  prepend?: string;
  precompiled_charsmap?: string;
}

type Normalize = (text: string) => string;
type LibraryJson = ConstructorParameters<typeof SequenceNormalizer>[0];

/** The exact normaliser, or null where the library's own will do. */
export function exactNormalizer(step: NormalizerJson | null): Normalize | null {
  return step !== null && needsExactness(step) ? build(step) : null;
}

function needsExactness(step: NormalizerJson): boolean {
  const isInexact = step.type === "Prepend" || step.type === "Precompiled";
  return isInexact || (step.normalizers ?? []).some(needsExactness);
}

function build(step: NormalizerJson): Normalize {
  if (step.type === "Sequence") {
    const steps = (step.normalizers ?? []).map(build);
    return (text) => steps.reduce((normalized, normalize) => normalize(normalized), text);
  }
  if (step.type === "Prepend") {
    const prefix = step.prepend ?? "";
    return (text) => (text === "" ? text : prefix + text);
  }
  if (step.type === "Precompiled" && typeof step.precompiled_charsmap === "string") {
    const map = new CharacterMap(step.precompiled_charsmap);
    return (text) => map.normalize(text);
  }
  // The library checks the step's type itself.
  const library = new SequenceNormalizer({ type: "Sequence", normalizers: [step] } as LibraryJson);
  return (text) => library.normalize(text);
}
