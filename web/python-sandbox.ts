/**
 * What runs in the sandbox as texts, `virtual:python-sandbox`: a document, and a worker's script.
 *
 * A frame without an origin may load nothing of ours by address: to a host it is a stranger. So the
 * frame around it hands in all that it needs. Both scripts are single files of TypeScript that import
 * types only.
 */
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

import { type Plugin, transformWithOxc } from "vite";

const NAME = "virtual:python-sandbox";
const RESOLVED = `\0${NAME}`;
const FOLDER = new URL("./src/sandbox/", import.meta.url);

/**
 * Below the frame's own policy: not even our own origin. A worker made of a blob is bound by the policies
 * of the document that made it.
 */
export const INNER_POLICY = [
  "default-src 'none'",
  "script-src data: blob: 'wasm-unsafe-eval'",
  "worker-src blob:",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/** A Vite plugin for the page. */
export function pythonSandbox(): Plugin {
  return {
    name: "transom-python-sandbox",
    resolveId: (id) => (id === NAME ? RESOLVED : null),
    async load(id) {
      if (id !== RESOLVED) {
        return null;
      }
      const [inner, worker] = await Promise.all([
        script("inner.ts"),
        script("worker/python-worker.ts"),
      ]);
      const document =
        `<!doctype html><meta charset="utf-8">` +
        `<meta http-equiv="Content-Security-Policy" content="${INNER_POLICY}">` +
        `<script src="data:text/javascript;base64,${Buffer.from(inner).toString("base64")}"></script>`;
      return (
        `export const innerDocument = ${JSON.stringify(document)};\n` +
        `export const workerScript = ${JSON.stringify(worker)};\n`
      );
    },
  };
}

/** As JavaScript. @throws Error where it imports more than types. */
async function script(name: string): Promise<string> {
  const path = fileURLToPath(new URL(name, FOLDER));
  const { code } = await transformWithOxc(await readFile(path, "utf8"), path, { sourcemap: false });
  if (/^\s*import\s*["'{*\w]/m.test(code)) {
    throw new Error(`${path} imports something, which it could not load in the sandbox.`);
  }
  return code.replace(/\nexport \{\};?\s*$/, "\n");
}
