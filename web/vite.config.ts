/** Builds the page and its engine worker into `web/dist`, with relative paths for any host. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import packageJson from "../package.json" with { type: "json" };
import { contentSecurityPolicy } from "./content-security-policy.ts";
import { devServiceWorker } from "./dev-service-worker.ts";
import { pdfCmaps } from "./pdf-cmaps.ts";
import { buildFiles } from "./precache-manifest.ts";
import { pyodideBundle } from "./pyodide-bundle.ts";
import { pythonSandbox } from "./python-sandbox.ts";
import { stylesheetsFirst } from "./stylesheets-first.ts";
import { xgrammarBinding } from "./xgrammar-binding.ts";

/** Where `transom serve` listens; `npm run dev` asks it for models. */
const SERVER = process.env["TRANSOM_SERVER"] ?? "http://127.0.0.1:11435";

/** What is the server's; the sources of `src/api` are not. */
const PROXY = {
  "^/(v1|v2|api)/": SERVER,
  "^/(healthz|readyz|(de)?tokenize|rerank(ing)?)$": SERVER,
};

/** tvmjs and xgrammar ask for these when they find themselves in Node; the page never does. */
const NODE_ONLY = ["ws", "fs", "path", "crypto", "perf_hooks", "module"];
/** MCP's SDK has it for those who bring no checker of their own; it makes code, which we forbid. */
const NEVER_USED = ["ajv", "ajv-formats"];
const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
/** For other sites, who write its address down. */
const CONNECT = "connect";

export default defineConfig({
  base: "./",
  resolve: {
    alias: [...NODE_ONLY, ...NEVER_USED].map((find) => ({
      find,
      replacement: here("node-only.ts"),
    })),
  },
  plugins: [
    contentSecurityPolicy(),
    stylesheetsFirst(),
    pdfCmaps(),
    pyodideBundle(),
    pythonSandbox(),
    devServiceWorker(),
    // The service worker's build lists them; the development server has none.
    { ...buildFiles(), apply: "serve" },
    // A build's workers have plugins of their own, below.
    { ...xgrammarBinding(), apply: "serve" },
  ],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  worker: { format: "es", plugins: () => [xgrammarBinding()] },
  define: { __VERSION__: JSON.stringify(packageJson.version) },
  build: {
    // Every browser with WebGPU understands this, so nothing is rewritten for older ones.
    target: "es2023",
    modulePreload: { polyfill: false },
    sourcemap: true,
    rolldownOptions: {
      // Else an entry that others import would lose what it exports.
      preserveEntrySignatures: "exports-only",
      input: {
        index: here("index.html"),
        embed: here("embed.html"),
        consent: here("consent.html"),
        python: here("python.html"),
        outside: here("outside.html"),
        [CONNECT]: here("src/embed/connect.ts"),
      },
      output: {
        entryFileNames: ({ name }) => (name === CONNECT ? "[name].js" : "assets/[name]-[hash].js"),
      },
    },
  },
  server: { proxy: PROXY },
  preview: { proxy: PROXY },
});
