/**
 * xgrammar's wasm as a module of its own, `virtual:xgrammar`.
 *
 * The npm package is one script that keeps its binding to itself, tells masks by promises only, and
 * cannot be imported in Node at all (it looks for `require`). What Emscripten made is in it whole,
 * wasm included: that part alone is used, and a build fails where a new version looks different.
 */
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";

import type { Plugin } from "vite";

const NAME = "virtual:xgrammar";
const RESOLVED = `\0${NAME}`;

const BEGIN = "  var _documentCurrentScript = ";
const END = "  /**\n   * Type definitions and helpers";
const NODE_FILE_URL = "require('u' + 'rl').pathToFileURL(__filename).href";

/** A Vite plugin; a worker's bundle needs one of its own. */
export function xgrammarBinding(): Plugin {
  return {
    name: "transom-xgrammar-binding",
    resolveId: (id) => (id === NAME ? RESOLVED : null),
    load: async (id) => (id === RESOLVED ? await bindingCode() : null),
  };
}

async function bindingCode(): Promise<string> {
  const path = createRequire(import.meta.url).resolve("@mlc-ai/web-xgrammar");
  const code = await readFile(path, "utf8");
  const [begin, end] = [code.indexOf(BEGIN), code.indexOf(END)];
  if (begin < 0 || end < begin || !code.includes(NODE_FILE_URL)) {
    throw new Error(`${path} is not the version that xgrammar-binding.ts knows.`);
  }
  const factory = code.slice(begin, end).replaceAll(NODE_FILE_URL, "import.meta.url");
  return `${factory}\nexport default Module;\n`;
}
