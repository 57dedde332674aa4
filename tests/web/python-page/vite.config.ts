/** Builds this page as the real one is built: same policies, same files of Python, same sandbox. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { contentSecurityPolicy } from "../../../web/content-security-policy.ts";
import { pyodideBundle } from "../../../web/pyodide-bundle.ts";
import { pythonSandbox } from "../../../web/python-sandbox.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

export default defineConfig({
  root: here("."),
  base: "./",
  plugins: [contentSecurityPolicy(), pyodideBundle(), pythonSandbox()],
  build: {
    target: "es2023",
    modulePreload: { polyfill: false },
    emptyOutDir: true,
    rolldownOptions: { input: { index: here("index.html"), python: here("python.html") } },
  },
});
