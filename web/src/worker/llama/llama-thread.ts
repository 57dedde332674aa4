/**
 * A worker of its own for llama.cpp: starts wllama's wasm and passes it messages (`llama-process.ts`).
 *
 * A classic script without imports, because wllama's is one: it makes globals, and its threads load it
 * again. Model files are laid straight into the wasm's memory, where llama.cpp points at them instead
 * of reading them: else every model would be there twice.
 */
(() => {
  // eslint-disable-next-line @typescript-eslint/consistent-type-imports -- an import would make this a module
  type Messages = import("./llama-process.ts").ThreadMessages;

  /** What we use of the module that Emscripten makes. */
  interface Emscripten {
    readonly HEAPU8: Uint8Array;
    readonly FS: {
      mkdir(path: string): void;
      createDataFile(
        parent: string,
        name: string,
        data: Uint8Array,
        canRead: boolean,
        canWrite: boolean,
      ): void;
      lookupPath(path: string): { node: FileNode };
    };
    /** 0 where there is no memory left. */
    mmapAlloc: (bytes: number) => number;
    cwrap: (
      name: string,
      returns: string | null,
      takes: readonly string[],
    ) => (...values: unknown[]) => number;
  }

  interface FileNode {
    usedBytes: number;
    stream_ops: Record<string, unknown>;
  }

  interface Scope extends Omit<DedicatedWorkerGlobalScope, "postMessage"> {
    Module?: unknown;
    postMessage(answer: Messages["answer"], transfer?: Transferable[]): void;
  }

  const FOLDER = "/models";
  /** Of a file that is copied: large enough to be quick, small beside any model. */
  const SLICE_BYTES = 16 * 1024 * 1024;
  const PAGE_BYTES = 64 * 1024;
  const GIGABYTE = 1024 ** 3;
  /** Most of what llama.cpp says before it gives up is about something else. */
  const KEPT_COMPLAINTS = 3;

  const scope = self as unknown as Scope;
  let llama: Emscripten | null = null;
  let complaints: string[] = [];

  function start({ script, wasm, threads }: Messages["start"]): Promise<void> {
    return new Promise((resolve, reject) => {
      const module = {
        noInitialRun: true,
        print: () => undefined,
        printErr: hear,
        locateFile: () => wasm,
        mainScriptUrlOrBlob: script,
        pthreadPoolSize: threads,
        ...(threads > 1 && { wasmMemory: sharedMemory() }),
        onRuntimeInitialized: () => {
          // By now Emscripten has added its own to it.
          llama = module as unknown as Emscripten;
          llama.FS.mkdir(FOLDER);
          llama.cwrap("wllama_start", "string", [])();
          resolve();
        },
        onAbort: (reason: unknown) => {
          reject(new Error(String(reason)));
        },
      };
      scope.Module = module;
      scope.importScripts(script);
    });
  }

  /** As much address space as the browser lets a wasm with threads have; it fills up as needed. */
  function sharedMemory(): WebAssembly.Memory {
    for (const gigabytes of [4, 2, 1]) {
      try {
        const maximum = (gigabytes * GIGABYTE) / PAGE_BYTES;
        return new WebAssembly.Memory({ initial: maximum / 32, maximum, shared: true });
      } catch {
        continue;
      }
    }
    throw new RangeError("no memory for threads");
  }

  /** llama.cpp's own words, behind their level (`@@ERROR@@`). */
  function hear(line: string): void {
    const text = /^@@ERROR@@(.*)/.exec(line)?.[1];
    if (text !== undefined && text !== "") {
      complaints = [...complaints, text].slice(-KEPT_COMPLAINTS);
    }
  }

  async function addFile({ path, file }: Messages["file"]): Promise<void> {
    const { FS, mmapAlloc } = started();
    const address = mmapAlloc(file.size) >>> 0;
    if (address === 0) {
      throw new RangeError(`no memory for ${file.size} bytes`);
    }
    for (let start = 0; start < file.size; start += SLICE_BYTES) {
      const slice = await file.slice(start, start + SLICE_BYTES).arrayBuffer();
      started().HEAPU8.set(new Uint8Array(slice), address + start);
    }
    FS.createDataFile(FOLDER, path, new Uint8Array(0), true, false);
    const { node } = FS.lookupPath(`${FOLDER}/${path}`);
    node.usedBytes = file.size;
    node.stream_ops = {
      ...node.stream_ops,
      read: (_: unknown, into: Uint8Array, offset: number, length: number, position: number) => {
        const end = Math.min(file.size, position + length);
        const bytes = started().HEAPU8.subarray(address + position, address + end);
        new Uint8Array(into.buffer).set(bytes, offset);
        return Math.max(0, end - position);
      },
      mmap: (_: unknown, _length: number, position: number) => ({
        ptr: address + position,
        allocated: false,
      }),
    };
  }

  function call({ action, message }: Messages["call"]): Uint8Array<ArrayBuffer> {
    const module = started();
    complaints = [];
    const reserve = module.cwrap("wllama_malloc", "number", ["number", "number"]);
    const run = module.cwrap("wllama_action", "number", ["string", "number"]);
    const input = reserve(message.byteLength, 0) >>> 0;
    module.HEAPU8.set(message, input);
    const output = run(action, input) >>> 0;
    if (output === 0) {
      throw new Refusal(complaints.join(" ") || `it could not ${action}`);
    }
    // It leaves the answer's length where the question was.
    const length = new DataView(module.HEAPU8.buffer).getUint32(input, true);
    return Uint8Array.from(module.HEAPU8.subarray(output, output + length));
  }

  /** llama.cpp said no, and can be asked something else. */
  class Refusal extends Error {}

  function started(): Emscripten {
    if (llama === null) {
      throw new Error("llama.cpp has not been started");
    }
    return llama;
  }

  async function answer(request: Messages["request"]): Promise<Uint8Array<ArrayBuffer> | null> {
    switch (request.kind) {
      case "start":
        await start(request);
        return null;
      case "file":
        await addFile(request);
        return null;
      case "call":
        return call(request);
    }
  }

  function failureOf(error: unknown): Messages["failure"] {
    // Emscripten's own errors are no `Error`s.
    const { message } = error as { message?: unknown };
    const text = typeof message === "string" ? message : String(error);
    const said = error instanceof Refusal ? text : [text, ...complaints].join(" ");
    if (error instanceof RangeError || /alloc|out of memory|\boom\b/i.test(said)) {
      return { reason: "memory", text: said };
    }
    return { reason: error instanceof Refusal ? "refused" : "crashed", text: said };
  }

  scope.addEventListener("message", ({ data }: MessageEvent<Messages["request"]>) => {
    answer(data).then(
      (bytes) => {
        scope.postMessage({ id: data.id, bytes }, bytes === null ? [] : [bytes.buffer]);
      },
      (error: unknown) => {
        scope.postMessage({ id: data.id, failure: failureOf(error) });
      },
    );
  });
})();
