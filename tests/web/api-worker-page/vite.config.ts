/** Builds this page as the real one is built: same policy, same files of Python, same kind of worker. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { contentSecurityPolicy } from "../../../web/content-security-policy.ts";
import { pyodideBundle } from "../../../web/pyodide-bundle.ts";

export default defineConfig({
  root: fileURLToPath(new URL(".", import.meta.url)),
  base: "./",
  plugins: [contentSecurityPolicy(), pyodideBundle()],
  worker: { format: "es" },
  build: { target: "es2023", modulePreload: { polyfill: false }, emptyOutDir: true },
});
