/**
 * Python for the API worker as files of the page's build: what `transom build pyodide` wrote.
 *
 * They lie in `assets/python-<digest>/` under their own names, because Pyodide looks for them by
 * name; the digest is that of the lock file, which holds those of all the others. So a host may keep
 * them for ever, as it may all of `assets/`. The page learns the folder from
 * `virtual:pyodide-bundle`. The wheel for people's own programs lies in `python/`, where they find it.
 */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

import type { Plugin } from "vite";

const NAME = "virtual:pyodide-bundle";
const RESOLVED = `\0${NAME}`;
const LOCK_FILE = "pyodide-lock.json";
const CLIENT_FOLDER = "python/";
/** Hexadecimal digits of the digest in the folder's name. */
const NAME_DIGITS = 32;
const TYPES: Readonly<Record<string, string>> = {
  js: "text/javascript",
  wasm: "application/wasm",
  json: "application/json",
};

/** Where `transom build pyodide` writes. */
export const PYODIDE_FOLDER = new URL("../build/dist/pyodide/", import.meta.url);

interface Bundle {
  /** Relative to the page, with a slash at its end. */
  folder: string;
  /** All that the page's Python needs, the lock file among them. */
  names: readonly string[];
  /** The wheel for programs. */
  client: string;
}

/** A Vite plugin for the page; `source` is the folder with the files. */
export function pyodideBundle(source: URL = PYODIDE_FOLDER): Plugin {
  const read = (name: string) => readFileSync(new URL(name, source));
  return {
    name: "transom-pyodide-bundle",
    resolveId: (id) => (id === NAME ? RESOLVED : null),
    load: (id) =>
      id === RESOLVED ? `export const folder = ${JSON.stringify(bundle(source).folder)};` : null,
    generateBundle() {
      const { folder, names, client } = bundle(source);
      for (const name of names) {
        this.emitFile({ type: "asset", fileName: `${folder}${name}`, source: read(name) });
      }
      this.emitFile({ type: "asset", fileName: `${CLIENT_FOLDER}${client}`, source: read(client) });
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const [path = ""] = (request.url ?? "").split("?");
        const name = /\/assets\/python-[0-9a-f]+\/([^/]+)$/.exec(path)?.[1];
        if (name === undefined || !bundle(source).names.includes(name)) {
          next();
          return;
        }
        const type = TYPES[name.split(".").at(-1) ?? ""] ?? "application/octet-stream";
        response.setHeader("Content-Type", type);
        response.end(read(name));
      });
    },
  };
}

/** Throws with the command to run where the folder is missing or is not whole. */
function bundle(source: URL): Bundle {
  const missing = `Python for the page is not in ${fileURLToPath(source)}: run \`transom build pyodide\`.`;
  let lock: Buffer;
  try {
    lock = readFileSync(new URL(LOCK_FILE, source));
  } catch {
    throw new Error(missing);
  }
  const { files, client } = JSON.parse(lock.toString()) as {
    files?: Readonly<Record<string, { sha256: string }>>;
    client?: string;
  };
  if (files === undefined || client === undefined) throw new Error(missing);
  for (const [name, { sha256 }] of Object.entries(files)) {
    if (digest(readFileSync(new URL(name, source))) !== sha256) {
      throw new Error(
        `${name} is not what ${LOCK_FILE} says: run \`transom build pyodide\` again.`,
      );
    }
  }
  return {
    folder: `assets/python-${digest(lock).slice(0, NAME_DIGITS)}/`,
    names: [...Object.keys(files).filter((name) => name !== client), LOCK_FILE],
    client,
  };
}

function digest(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
