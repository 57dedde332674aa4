/** Builds the page and its engine worker into `web/dist`, with relative paths for any host. */
import { defineConfig } from "vite";

import { contentSecurityPolicy } from "./content-security-policy.ts";

/** Where `transom serve` listens; `npm run dev` asks it for models. */
const SERVER = process.env["TRANSOM_SERVER"] ?? "http://127.0.0.1:11435";

export default defineConfig({
  base: "./",
  plugins: [contentSecurityPolicy()],
  worker: { format: "es" },
  build: {
    // Every browser with WebGPU understands this, so nothing is rewritten for older ones.
    target: "es2023",
    modulePreload: { polyfill: false },
    sourcemap: true,
  },
  server: { proxy: { "/v1": SERVER, "/v2": SERVER } },
  preview: { proxy: { "/v1": SERVER, "/v2": SERVER } },
});
