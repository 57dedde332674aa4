/**
 * A model library that speaks: the real `ModelRuntime`, with its KV cache and logits.
 *
 * tvmjs calls give `any`; each is cast to what the contract in DESIGN 4.4 says it is. Failures are
 * put into words by `TvmLibrary`, which owns everything that lives longer than a call.
 */
import type * as tvmjs from "@mlc-ai/web-runtime";

import { TransomError } from "../errors.ts";
import type { ModelRuntime } from "./runtime.ts";
import type { TvmLibrary } from "./tvm-library.ts";

/** Tokens per page of the KV cache, as MLC's libraries have it. */
const PAGE_SIZE = 16;
/** The one sequence that this engine runs. */
const SEQUENCE_ID = 0;

interface Functions {
  embed: tvmjs.PackedFunc;
  prefill: tvmjs.PackedFunc;
  decode: tvmjs.PackedFunc;
  /** MLC's libraries have none. */
  argmax: tvmjs.PackedFunc | null;
  clear: tvmjs.PackedFunc;
  addSequence: tvmjs.PackedFunc;
  beginForward: tvmjs.PackedFunc;
  endForward: tvmjs.PackedFunc;
}

export class TvmRuntime implements ModelRuntime {
  readonly #library: TvmLibrary;
  readonly #functions: Functions;
  readonly #params: tvmjs.TVMObject;
  readonly #kvCache: tvmjs.TVMObject;
  /** Holds the token that decode takes, so that no buffer is made per token. */
  readonly #decodeInput: tvmjs.Tensor;
  /** Where the chosen token and the logits land on the CPU side. */
  readonly #cpuToken: tvmjs.Tensor;
  #cpuLogits: tvmjs.Tensor | null = null;
  #logits: tvmjs.Tensor | null = null;

  readonly contextWindowSize: number;

  /**
   * @param library with all its parameters uploaded.
   * @param contextWindowSize tokens that the KV cache shall hold; at most the library's own.
   */
  constructor(library: TvmLibrary, contextWindowSize: number) {
    this.#library = library;
    this.contextWindowSize = contextWindowSize;
    this.#params = library.bindParameters();
    const { tvm, device } = library;
    const made = library.scoped(() => {
      const makeKvCache = library.own("create_tir_paged_kv_cache");
      const kvCache = makeKvCache(
        tvm.makeShapeTuple([1]),
        tvm.makeShapeTuple([this.contextWindowSize]),
        tvm.makeShapeTuple([this.prefillChunkSize]),
        tvm.makeShapeTuple([PAGE_SIZE]),
        tvm.makeShapeTuple([0]),
      ) as tvmjs.TVMObject;
      return {
        functions: lookUp(library),
        kvCache: library.keep(kvCache),
        decodeInput: library.keep(tvm.empty([1], "int32", device)),
        cpuToken: library.keep(tvm.empty([1], "int32", tvm.cpu())),
      };
    });
    this.#functions = made.functions;
    this.#kvCache = made.kvCache;
    this.#decodeInput = made.decodeInput;
    this.#cpuToken = made.cpuToken;
    this.clear();
  }

  get prefillChunkSize(): number {
    return this.#library.metadata.prefillChunkSize;
  }

  clear(): void {
    this.#library.scoped(() => {
      this.#functions.clear(this.#kvCache);
      this.#functions.addSequence(this.#kvCache, this.#library.tvm.scalar(SEQUENCE_ID, "int64"));
    });
  }

  forward(tokenIds: readonly number[]): void {
    this.#library.scoped(() => {
      const tvm = this.#library.tvm;
      const count = tokenIds.length;
      const embedded = this.#functions.embed(
        this.#placeTokens(tokenIds),
        this.#params,
      ) as tvmjs.Tensor;
      const input = embedded.view([1, ...embedded.shape]);
      this.#functions.beginForward(
        this.#kvCache,
        tvm.makeShapeTuple([SEQUENCE_ID]),
        tvm.makeShapeTuple([count]),
      );
      const step = count === 1 ? this.#functions.decode : this.#functions.prefill;
      const output = step(input, this.#kvCache, this.#params) as tvmjs.TVMArray;
      this.#functions.endForward(this.#kvCache);
      this.#logits?.dispose();
      this.#logits = this.#library.keep(output.get(0) as tvmjs.Tensor);
    });
  }

  async argmax(): Promise<number> {
    const { argmax } = this.#functions;
    if (argmax === null) {
      return argmaxOf(await this.readLogits());
    }
    this.#library.scoped(() => {
      this.#cpuToken.copyFrom(argmax(this.#lastLogits()) as tvmjs.Tensor);
    });
    await this.settle();
    const [tokenId] = this.#cpuToken.toArray();
    return tokenId ?? 0;
  }

  async readLogits(): Promise<Float32Array> {
    this.#library.scoped(() => {
      const logits = this.#lastLogits();
      this.#cpuLogits ??= this.#library.keep(
        this.#library.tvm.empty(logits.shape, "float32", this.#library.tvm.cpu()),
      );
      this.#cpuLogits.copyFrom(logits);
    });
    await this.settle();
    return this.#cpuLogits?.toArray() as Float32Array;
  }

  async settle(): Promise<void> {
    await this.#library.settle();
  }

  dispose(): void {
    this.#library.dispose();
  }

  #placeTokens(tokenIds: readonly number[]): tvmjs.Tensor {
    const ids = [...tokenIds];
    return ids.length === 1
      ? this.#decodeInput.copyFrom(ids)
      : this.#library.tvm.empty([ids.length], "int32", this.#library.device).copyFrom(ids);
  }

  #lastLogits(): tvmjs.Tensor {
    if (this.#logits === null) {
      throw new TransomError("internal", "There are no logits before the first forward.");
    }
    return this.#logits;
  }
}

/** The first of the largest, as the kernel has it. */
function argmaxOf(logits: Float32Array): number {
  let best = 0;
  for (let index = 1; index < logits.length; index++) {
    if ((logits[index] ?? 0) > (logits[best] ?? 0)) {
      best = index;
    }
  }
  return best;
}

function lookUp(library: TvmLibrary): Functions {
  const cache = (name: string) => library.builtin(`vm.builtin.kv_state_${name}`);
  return {
    embed: library.own("embed"),
    prefill: library.own("prefill"),
    decode: library.own("decode"),
    argmax: library.find("argmax_logits"),
    clear: cache("clear"),
    addSequence: cache("add_sequence"),
    beginForward: cache("begin_forward"),
    endForward: cache("end_forward"),
  };
}
