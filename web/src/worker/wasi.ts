/**
 * The few WASI calls that a model library imports: a clock, and a place to print to.
 *
 * tvmjs brings an emscripten polyfill for this; ours keeps what the C++ side prints, so that an
 * abort can be told in its own words. It knows neither TVM nor models.
 */

const SUCCESS = 0;
const BAD_FILE_DESCRIPTOR = 8;
const CLOCK_REALTIME = 0;
/** Enough of what was printed before a crash to say why. */
const KEPT_LINES = 20;
/** An iovec is a pointer and a length, four bytes each. */
const IOVEC_BYTES = 8;

type Imports = Record<string, Record<string, unknown>>;

/** Has tvmjs's `LibraryProvider` shape: imports before the instance exists, `start` after. */
export class Wasi {
  readonly imports: Imports;
  readonly #lines: string[] = [];
  #unfinished = "";
  #memory: WebAssembly.Memory | null = null;

  constructor() {
    this.imports = {
      wasi_snapshot_preview1: {
        clock_time_get: this.#clockTimeGet,
        fd_write: this.#fdWrite,
        fd_read: () => BAD_FILE_DESCRIPTOR,
        fd_seek: () => BAD_FILE_DESCRIPTOR,
        fd_close: () => SUCCESS,
        environ_sizes_get: this.#environSizesGet,
        environ_get: () => SUCCESS,
        proc_exit: (code: number) => {
          throw new WebAssembly.RuntimeError(`the model library exited with code ${code}`);
        },
      },
    };
  }

  start(instance: WebAssembly.Instance): void {
    const { memory, _initialize: initialize } = instance.exports;
    if (!(memory instanceof WebAssembly.Memory)) {
      throw new TypeError("the model library exports no memory");
    }
    this.#memory = memory;
    if (typeof initialize === "function") {
      (initialize as () => void)();
    }
  }

  /** The last lines printed, oldest first, in one line; empty when nothing was. */
  lastWords(): string {
    return [...this.#lines, this.#unfinished].filter((line) => line.trim() !== "").join(" | ");
  }

  readonly #clockTimeGet = (clock: number, _precision: bigint, resultPointer: number): number => {
    const milliseconds = clock === CLOCK_REALTIME ? Date.now() : performance.now();
    const nanoseconds = BigInt(Math.round(milliseconds * 1e6));
    this.#view().setBigUint64(resultPointer, nanoseconds, true);
    return SUCCESS;
  };

  readonly #fdWrite = (
    _fd: number,
    vectors: number,
    count: number,
    writtenPointer: number,
  ): number => {
    const view = this.#view();
    const decoder = new TextDecoder();
    let written = 0;
    for (let index = 0; index < count; index++) {
      const pointer = view.getUint32(vectors + index * IOVEC_BYTES, true);
      const length = view.getUint32(vectors + index * IOVEC_BYTES + 4, true);
      this.#print(decoder.decode(new Uint8Array(view.buffer, pointer, length)));
      written += length;
    }
    view.setUint32(writtenPointer, written, true);
    return SUCCESS;
  };

  readonly #environSizesGet = (countPointer: number, sizePointer: number): number => {
    this.#view().setUint32(countPointer, 0, true);
    this.#view().setUint32(sizePointer, 0, true);
    return SUCCESS;
  };

  #print(text: string): void {
    const lines = (this.#unfinished + text).split("\n");
    this.#unfinished = lines.pop() ?? "";
    this.#lines.push(...lines);
    this.#lines.splice(0, this.#lines.length - KEPT_LINES);
  }

  /** Made anew each time: growing the memory detaches older views. */
  #view(): DataView<ArrayBuffer> {
    if (this.#memory === null) {
      throw new TypeError("the model library printed before it was started");
    }
    return new DataView(this.#memory.buffer);
  }
}
