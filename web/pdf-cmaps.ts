/**
 * Adobe's predefined CMaps for pdf.js as files of the page's build: what old Chinese, Japanese and Korean
 * PDFs write their text in (ISO 32000-1, 9.7.5.2).
 *
 * They lie in `assets/pdf-cmaps-<digest>/` under their own names, because pdf.js looks for them by
 * name; the digest is that of all of them. One is fetched when a document asks for it. The page learns
 * the folder from `virtual:pdf-cmaps`.
 */
import { createHash } from "node:crypto";
import { readFileSync, readdirSync } from "node:fs";

import type { Plugin } from "vite";

const NAME = "virtual:pdf-cmaps";
const RESOLVED = `\0${NAME}`;
const SOURCE = new URL("../node_modules/pdfjs-dist/cmaps/", import.meta.url);
/** Hexadecimal digits of the digest in the folder's name. */
const NAME_DIGITS = 32;
const SUFFIX = ".bcmap";
/** Adobe's terms go wherever the files go. */
const LICENCE = "LICENSE";

/** A Vite plugin for the page. */
export function pdfCmaps(): Plugin {
  const files = new Map(
    readdirSync(SOURCE)
      .filter((name) => name.endsWith(SUFFIX) || name === LICENCE)
      .sort()
      .map((name) => [name, readFileSync(new URL(name, SOURCE))]),
  );
  const digest = createHash("sha256");
  for (const [name, bytes] of files) {
    digest.update(`${name} ${bytes.length}\n`).update(bytes);
  }
  const folder = `assets/pdf-cmaps-${digest.digest("hex").slice(0, NAME_DIGITS)}/`;
  return {
    name: "transom-pdf-cmaps",
    resolveId: (id) => (id === NAME ? RESOLVED : null),
    load: (id) => (id === RESOLVED ? `export const folder = ${JSON.stringify(folder)};` : null),
    generateBundle() {
      for (const [name, source] of files) {
        const fileName = folder + (name === LICENCE ? `${name}.txt` : name);
        this.emitFile({ type: "asset", fileName, source });
      }
    },
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const [path = ""] = (request.url ?? "").split("?");
        const bytes = path.includes(folder) ? files.get(path.split("/").at(-1) ?? "") : undefined;
        if (bytes === undefined) {
          next();
          return;
        }
        response.setHeader("Content-Type", "application/octet-stream");
        response.end(bytes);
      });
    },
  };
}
