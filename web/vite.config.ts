/** Builds the page and its engine worker into `web/dist`, with relative paths for any host. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { contentSecurityPolicy } from "./content-security-policy.ts";
import { xgrammarBinding } from "./xgrammar-binding.ts";

/** Where `transom serve` listens; `npm run dev` asks it for models. */
const SERVER = process.env["TRANSOM_SERVER"] ?? "http://127.0.0.1:11435";

/** tvmjs and xgrammar ask for these when they find themselves in Node; the page never does. */
const NODE_ONLY = ["ws", "fs", "path", "crypto", "perf_hooks", "module"];
const nothing = fileURLToPath(new URL("node-only.ts", import.meta.url));

export default defineConfig({
  base: "./",
  resolve: { alias: NODE_ONLY.map((find) => ({ find, replacement: nothing })) },
  plugins: [contentSecurityPolicy()],
  worker: { format: "es", plugins: () => [xgrammarBinding()] },
  build: {
    // Every browser with WebGPU understands this, so nothing is rewritten for older ones.
    target: "es2023",
    modulePreload: { polyfill: false },
    sourcemap: true,
  },
  server: { proxy: { "/v1": SERVER, "/v2": SERVER } },
  preview: { proxy: { "/v1": SERVER, "/v2": SERVER } },
});
