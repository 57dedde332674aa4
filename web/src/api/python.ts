/**
 * Starts Python in this worker: Pyodide with our packages, and the API's host in it.
 *
 * Nothing comes from anywhere but the bundle, and nothing of it unchecked. Pyodide asks for its files
 * by the global `fetch`, whose place is taken for that while.
 */
import type { PyodideAPI, loadPyodide } from "pyodide";

import { TransomError } from "../errors.ts";
import type { PythonEngine } from "./engine-port.ts";
import type { PythonChannel } from "./http-answer.ts";
import { PythonBundle } from "./python-bundle.ts";

/** Pyodide only warns where its wasm cannot be started, and then says nothing any more. */
const START_MILLISECONDS = 120_000;
const HOST_MODULE = "transom_pyodide.host";
const WARMING_MODULE = "transom_pyodide.warming";
/** Requests that have waited for Python go first. */
const WARM_UP_AFTER_MILLISECONDS = 50;
const WASM_FILE = "pyodide.asm.wasm";
const STANDARD_LIBRARY = "python_stdlib.zip";
const WHEEL_FOLDER = "/lib/transom";

/** `transom_pyodide.host.Handling`: one request that is being answered. */
export interface PythonHandling {
  cancel(): void;
  destroy?(): void;
}

/** `transom_pyodide.host.Host`. */
export interface PythonHost {
  handle(
    method: string,
    target: string,
    headers: string,
    body: string,
    channel: PythonChannel,
  ): PythonHandling;
}

/** The part of Emscripten's that is used. */
interface FileSystem {
  mkdirTree(path: string): void;
  writeFile(path: string, content: Uint8Array): void;
}

/** @throws TransomError with the reason, for people. */
export async function startHost(bundleUrl: string, engine: PythonEngine): Promise<PythonHost> {
  const python = await startPython(await PythonBundle.open(bundleUrl));
  const module = python.pyimport(HOST_MODULE) as { start: (engine: PythonEngine) => PythonHost };
  const host = module.start(engine);
  setTimeout(() => {
    (python.pyimport(WARMING_MODULE) as { warm_up: () => void }).warm_up();
  }, WARM_UP_AFTER_MILLISECONDS);
  return host;
}

async function startPython(bundle: PythonBundle): Promise<PyodideAPI> {
  const files = [WASM_FILE, STANDARD_LIBRARY, ...bundle.wheels].map((name) =>
    bundle.response(name),
  );
  const [pyodide] = await Promise.all([
    importScript<{ loadPyodide: typeof loadPyodide }>(bundle, "pyodide.js"),
    // Side by side; Pyodide imports it a second time, out of the worker's own list.
    importScript(bundle, "pyodide.asm.js"),
  ]);
  const giveBack = takeFetch(bundle);
  try {
    return await Promise.race([
      pyodide.loadPyodide({
        indexURL: bundle.url,
        lockFileContents: JSON.stringify(bundle.lock),
        packageBaseUrl: bundle.url,
        env: {
          PYTHONPATH: bundle.wheels.map((name) => `${WHEEL_FOLDER}/${name}`).join(":"),
          PYTHONDONTWRITEBYTECODE: "1",
        },
        fsInit: async (given) => {
          const fileSystem = given as unknown as FileSystem;
          fileSystem.mkdirTree(WHEEL_FOLDER);
          for (const name of bundle.wheels) {
            fileSystem.writeFile(`${WHEEL_FOLDER}/${name}`, await bundle.bytes(name));
          }
        },
      }),
      firstFailure(files),
      tooLate(),
    ]);
  } finally {
    giveBack();
  }
}

async function importScript<T>(bundle: PythonBundle, name: string): Promise<T> {
  const url = new URL(name, bundle.url).href;
  return (await import(/* @vite-ignore */ url)) as T;
}

/** Answers requests for the bundle's files by what is on its way already, and refuses all others. */
function takeFetch(bundle: PythonBundle): () => void {
  const own = globalThis.fetch;
  globalThis.fetch = (input) => {
    const { href } = new URL(input instanceof Request ? input.url : input, bundle.url);
    return href.startsWith(bundle.url)
      ? bundle.response(href.slice(bundle.url.length))
      : Promise.reject(new TransomError("internal", `Python asked for ${href}.`));
  };
  return () => {
    globalThis.fetch = own;
  };
}

function firstFailure(files: readonly Promise<Response>[]): Promise<never> {
  return new Promise((_, reject) => {
    for (const file of files) {
      file.catch(reject);
    }
  });
}

function tooLate(): Promise<never> {
  return new Promise((_, reject) => {
    setTimeout(() => {
      const seconds = START_MILLISECONDS / 1000;
      reject(new TransomError("internal", `Python did not start within ${seconds} seconds.`));
    }, START_MILLISECONDS);
  });
}
