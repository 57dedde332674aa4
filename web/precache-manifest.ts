/**
 * The files of the built page as a module, `virtual:build-files`: what the service worker keeps.
 *
 * Each file comes with its sha256 in the form of Subresource Integrity, so the browser itself
 * checks what it keeps, and a changed file changes `sw.js`, by which browsers notice a new build.
 * `workbox-build` would bring some 300 packages for this, and knows revisions by MD5 only.
 */
import { createHash } from "node:crypto";
import { readFile, readdir } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";

import type { Plugin } from "vite";

const NAME = "virtual:build-files";
const RESOLVED = `\0${NAME}`;

/** Path from the page's folder, and integrity (`sha256-…`). */
export type BuildFile = readonly [path: string, integrity: string];

export interface BuildFiles {
  /** Kept from the first visit on. */
  first: readonly BuildFile[];
  /** Kept when they are first asked for: megabytes that few visitors need. */
  later: readonly BuildFile[];
}

/**
 * llama.cpp in wasm, for browsers without a graphics adapter: two builds, one of which is used. The
 * part of Python's library that only programs of models ask for. And what old PDFs are written in.
 */
const LATER =
  /^assets\/wllama-|^assets\/python-[^/]+\/python_more\.zip$|^assets\/pdf-cmaps-[^/]+\/.+\.bcmap$/;
/**
 * The service worker itself, which browsers keep by rules of their own; what only debuggers and
 * lawyers read.
 */
const NEVER = /^sw\.js$|\.map$|^\.|^examples\/|^assets\/pdf-cmaps-[^/]+\/LICENSE\.txt$/;

/** Everything that a build in `folder` consists of, by path. */
export async function listBuildFiles(folder: string): Promise<BuildFiles> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const paths = entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)).split(sep).join("/"))
    .filter((path) => !NEVER.test(path))
    .sort();
  const files = await Promise.all(
    paths.map(async (path): Promise<BuildFile> => {
      const digest = createHash("sha256").update(await readFile(join(folder, path)));
      return [path, `sha256-${digest.digest("base64")}`];
    }),
  );
  return {
    first: files.filter(([path]) => !LATER.test(path)),
    later: files.filter(([path]) => LATER.test(path)),
  };
}

/**
 * A Vite plugin for the service worker's build, which comes after the page's into the same folder. A
 * development server keeps nothing.
 */
export function buildFiles(): Plugin {
  let folder = "";
  let isBuild = false;
  return {
    name: "transom-build-files",
    configResolved: ({ command, root, build }) => {
      folder = resolve(root, build.outDir);
      isBuild = command === "build";
    },
    resolveId: (id) => (id === NAME ? RESOLVED : null),
    load: async (id) => {
      if (id !== RESOLVED) {
        return null;
      }
      if (!isBuild) {
        return "export default { first: [], later: [] };\n";
      }
      const files = await listBuildFiles(folder);
      if (!files.first.some(([path]) => path === "index.html")) {
        throw new Error(`${folder} holds no page; build it before its service worker.`);
      }
      return `export default ${JSON.stringify(files)};\n`;
    },
  };
}
