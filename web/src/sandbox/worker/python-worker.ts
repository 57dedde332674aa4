/**
 * Python for programs that a model wrote: Pyodide on the files that came with `start`.
 *
 * Nothing is fetched: the policies around this worker allow no connection at all. The walls are those
 * and the missing origin; what this file takes away from programs (JavaScript's globals) is comfort.
 */
import type { PyodideAPI, loadPyodide } from "pyodide";

import type { RunMessage, StartMessage, WorkerMessage } from "../protocol.ts";

/** An address that nobody has (RFC 6761): Pyodide asks for its files below it. */
const FOLDER = "https://python.invalid/";
const MODULES = "/lib/transom";
/** More of the standard library, for programs; a bundle may lack it. */
const MORE = "python_more.zip";
const WASM_PAGE_BYTES = 65_536;

const MAX_REASON_CHARACTERS = 500;

type Emit = (kind: string, first: string, second: string) => void;

/** `programs.Programs` of programs.py. */
interface Programs {
  run: ((code: string) => Promise<void>) & { callPromising(code: string): Promise<void> };
}

addEventListener(
  "message",
  ({ data: { files, lock, memoryBytes }, ports: [port] }: MessageEvent<StartMessage>) => {
    if (port === undefined) {
      return;
    }
    const post = (message: WorkerMessage) => {
      port.postMessage(message);
    };
    limitMemory(memoryBytes);
    start(files, lock, emitter(post)).then(
      (programs) => {
        port.onmessage = ({ data }: MessageEvent<RunMessage>) => {
          void programs.run
            .callPromising(data.code)
            .catch((error: unknown) => {
              // Not the program's error, which programs.py tells: Python itself has failed.
              post({ kind: "error", text: String(error).slice(0, MAX_REASON_CHARACTERS) });
              post({ kind: "spent" });
            })
            .finally(() => {
              post({ kind: "done" });
            });
        };
        post({ kind: "ready" });
      },
      (error: unknown) => {
        post({ kind: "failed", message: String(error) });
      },
    );
  },
  { once: true },
);

function emitter(post: (message: WorkerMessage) => void): Emit {
  return (kind, first, second) => {
    switch (kind) {
      case "image":
        post({ kind, mediaType: first, base64: second });
        break;
      case "output":
      case "value":
      case "error":
        post({ kind, text: first });
        break;
      case "spent":
        post({ kind });
        break;
    }
  };
}

/** A program that wants more gets Python's MemoryError; the rest of the machine stays as it is. */
function limitMemory(bytes: number): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with its `this` below
  const { grow } = WebAssembly.Memory.prototype;
  WebAssembly.Memory.prototype.grow = function (this: WebAssembly.Memory, pages: number) {
    if (this.buffer.byteLength + pages * WASM_PAGE_BYTES > bytes) {
      throw new RangeError("Programs have no more memory than this.");
    }
    return grow.call(this, pages);
  };
}

async function start(files: StartMessage["files"], lock: object, emit: Emit): Promise<Programs> {
  // By this Pyodide knows a worker that cannot import, as this one can.
  globalThis.importScripts = () => {
    throw new TypeError("Nothing is imported here.");
  };
  const [{ loadPyodide: load }, { default: createPyodideModule }] = await Promise.all([
    importScript<{ loadPyodide: typeof loadPyodide }>(files, "pyodide.js"),
    importScript<{ default: unknown }>(files, "pyodide.asm.js"),
  ]);
  globalThis.fetch = (input) => {
    const { href } = new URL(input instanceof Request ? input.url : input, FOLDER);
    const name = href.slice(FOLDER.length);
    const type = name.endsWith(".wasm") ? "application/wasm" : "application/octet-stream";
    return href.startsWith(FOLDER) && files[name] !== undefined
      ? Promise.resolve(new Response(files[name], { headers: { "Content-Type": type } }))
      : Promise.reject(new TypeError("There is no network here."));
  };
  const modules = [MODULES, ...(files[MORE] === undefined ? [] : [`${MODULES}/${MORE}`])];
  const options = {
    indexURL: FOLDER,
    packageBaseUrl: FOLDER,
    lockFileContents: lock,
    createPyodideModule,
    jsglobals: globalsForPrograms(),
    env: { PYTHONPATH: modules.join(":"), PYTHONDONTWRITEBYTECODE: "1", HOME: "/home/program" },
    fsInit: (fileSystem: FileSystem) => {
      fileSystem.mkdirTree(MODULES);
      for (const name of ["plot.py", "programs.py", MORE]) {
        if (files[name] !== undefined) {
          fileSystem.writeFile(`${MODULES}/${name}`, new Uint8Array(files[name]));
        }
      }
      return Promise.resolve();
    },
  };
  const python: PyodideAPI = await load(options as unknown as Parameters<typeof load>[0]);
  const module = python.pyimport("programs") as { Programs: (emit: Emit) => Programs };
  return module.Programs(emit);
}

/** The part of Emscripten's that is used. */
interface FileSystem {
  mkdirTree(path: string): void;
  writeFile(path: string, content: Uint8Array): void;
}

/** What `import js` finds: what Pyodide itself uses. */
function globalsForPrograms(): object {
  return {
    Array,
    Object,
    Uint8Array,
    clearInterval: clearInterval.bind(globalThis),
    clearTimeout: clearTimeout.bind(globalThis),
    setInterval: setInterval.bind(globalThis),
    setTimeout: setTimeout.bind(globalThis),
    eval: () => {
      throw new EvalError("There is no JavaScript here, only Python.");
    },
  };
}

async function importScript<T>(files: StartMessage["files"], name: string): Promise<T> {
  const content = files[name];
  if (content === undefined) {
    throw new Error(`${name} did not come along.`);
  }
  const address = URL.createObjectURL(new Blob([content], { type: "text/javascript" }));
  try {
    return (await import(/* @vite-ignore */ address)) as T;
  } finally {
    URL.revokeObjectURL(address);
  }
}
