/**
 * xgrammar in wasm: says which tokens may come next. Loaded when the first format is asked for.
 *
 * The wasm ends its own life at what it refuses, in the middle of whatever it was doing, so a host
 * that has thrown is thrown away; constraints made before go on in it.
 */
import type { Binding, Compiler, Handle, Matcher } from "virtual:xgrammar";

import { TransomError } from "../../errors.ts";

/** The texts of a model's tokens; those without a text never match. */
export interface Vocabulary {
  /** One for each place in the logits. */
  tokens: readonly Uint8Array[];
  stopTokenIds: readonly number[];
}

/** Formats that are kept ready, the oldest given up first: some hundred KiB each. */
const MAX_COMPILED = 16;

export type Source =
  { kind: "grammar"; text: string; root: string } | { kind: "structural-tag"; json: string };

export class Xgrammar {
  readonly #binding: Binding;
  readonly #compiler: Compiler;
  readonly #lines: string[];
  readonly #vocabularySize: number;
  readonly #compiled = new Map<string, Handle>();

  private constructor(binding: Binding, lines: string[], { tokens, stopTokenIds }: Vocabulary) {
    this.#binding = binding;
    this.#lines = lines;
    this.#vocabularySize = tokens.length;
    const texts = binding.vecStringFromJSArray(tokens);
    const stops = binding.vecIntFromJSArray(stopTokenIds);
    const info = new binding.TokenizerInfo(texts, "RAW", tokens.length, stops, false);
    // No cache of its own: it would keep every format for ever.
    this.#compiler = new binding.GrammarCompiler(info, 1, false);
    for (const handle of [texts, stops, info]) {
      handle.delete();
    }
  }

  static async load(vocabulary: Vocabulary): Promise<Xgrammar> {
    const { default: create } = await import("virtual:xgrammar");
    const lines: string[] = [];
    const print = (line: string) => lines.push(line);
    return new Xgrammar(await create({ print, printErr: print }), lines, vocabulary);
  }

  /** @throws TransomError `invalid-request`, after which this host must not be used again. */
  start(source: Source): TokenMatcher {
    this.#lines.length = 0;
    try {
      return new TokenMatcher(this.#binding, this.#compile(source), this.#vocabularySize);
    } catch (error) {
      throw new TransomError(
        "invalid-request",
        `The format cannot be used: ${this.#reason(error)}`,
        { cause: error },
      );
    }
  }

  #compile(source: Source): Handle {
    const key = JSON.stringify(source);
    const known = this.#compiled.get(key);
    this.#compiled.delete(key);
    const compiled = known ?? this.#compileNew(source);
    this.#compiled.set(key, compiled);
    const [oldest] = this.#compiled.keys();
    if (this.#compiled.size > MAX_COMPILED && oldest !== undefined) {
      // Constraints that use it hold on to it themselves.
      this.#compiled.get(oldest)?.delete();
      this.#compiled.delete(oldest);
    }
    return compiled;
  }

  #compileNew(source: Source): Handle {
    const { Grammar } = this.#binding;
    const grammar =
      source.kind === "grammar"
        ? Grammar.FromEBNF(source.text, source.root)
        : Grammar.FromStructuralTag(source.json);
    const compiled = this.#compiler.CompileGrammar(grammar);
    grammar.delete();
    return compiled;
  }

  /** In xgrammar's own words: it prints them before it ends, or throws the address of them. */
  #reason(error: unknown): string {
    const printed = this.#lines.find((line) => line.includes("[FATAL]"));
    if (printed !== undefined) {
      return printed.replace(/^.*\[FATAL\] \S+: /, "");
    }
    if (typeof error === "number") {
      const { HEAPU8, HEAPU32 } = this.#binding;
      const begin = HEAPU32[(error >> 2) + 1] ?? 0;
      const end = HEAPU8.indexOf(0, begin);
      return new TextDecoder().decode(HEAPU8.subarray(begin, end));
    }
    return "it is too large or too deep.";
  }
}

/** How far one answer has come. */
export class TokenMatcher {
  readonly #binding: Binding;
  readonly #matcher: Matcher;
  readonly #vocabularySize: number;
  readonly #mask: Int32Array;

  constructor(binding: Binding, compiled: Handle, vocabularySize: number) {
    this.#binding = binding;
    this.#matcher = new binding.GrammarMatcher(compiled, undefined, false, -1);
    this.#vocabularySize = vocabularySize;
    this.#mask = new Int32Array(Math.ceil(vocabularySize / 32));
  }

  /** Bit i of word i >> 5: token i may come next. The same array each time. */
  mask(): Int32Array {
    const vector = this.#matcher.GetNextTokenBitmask(this.#vocabularySize);
    this.#mask.set(this.#binding.vecIntToView(vector));
    vector.delete();
    return this.#mask;
  }

  /** @returns whether the token was allowed; nothing changes when it was not. */
  accept(tokenId: number): boolean {
    return this.#matcher.AcceptToken(tokenId, false);
  }

  dispose(): void {
    this.#matcher.delete();
  }
}
