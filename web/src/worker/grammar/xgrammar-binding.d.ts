/** `virtual:xgrammar`, what Emscripten made of xgrammar: see web/xgrammar-binding.ts. */

/** Something that lives in wasm memory until it is deleted. */
export interface Handle {
  delete(): void;
}

export interface Matcher extends Handle {
  AcceptToken(tokenId: number, isVerbose: boolean): boolean;
  GetNextTokenBitmask(vocabularySize: number): Handle;
  IsTerminated(): boolean;
}

export interface Compiler extends Handle {
  CompileGrammar(grammar: Handle): Handle;
}

export interface Binding {
  readonly HEAPU8: Uint8Array;
  readonly HEAPU32: Uint32Array;
  readonly Grammar: {
    FromEBNF(text: string, root: string): Handle;
    FromStructuralTag(json: string): Handle & { ToString(): string };
  };
  readonly TokenizerInfo: new (
    vocabulary: Handle,
    kind: "RAW",
    size: number,
    stopTokenIds: Handle,
    addsPrefixSpace: boolean,
  ) => Handle;
  readonly GrammarCompiler: new (info: Handle, threads: 1, isCached: boolean) => Compiler;
  readonly GrammarMatcher: new (
    grammar: Handle,
    stopTokenIds: undefined,
    endsWithoutStop: boolean,
    rollbackTokens: number,
  ) => Matcher;
  vecStringFromJSArray(values: readonly (string | Uint8Array)[]): Handle;
  vecIntFromJSArray(values: readonly number[]): Handle;
  /** A view of wasm memory: gone when the memory grows. */
  vecIntToView(vector: Handle): Int32Array;
}

export default function create(options: {
  print(line: string): void;
  printErr(line: string): void;
}): Promise<Binding>;
