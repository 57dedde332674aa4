/**
 * Builds the service worker into `web/dist/sw.js`, beside the page that `vite.config.ts` has built.
 *
 * One classic script under a fixed name: its folder is its scope, browsers look under that address for
 * newer ones, and not all of them run modules as service workers.
 */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { buildFiles } from "./precache-manifest.ts";

export default defineConfig({
  base: "./",
  publicDir: false,
  plugins: [buildFiles()],
  build: {
    target: "es2023",
    emptyOutDir: false,
    sourcemap: true,
    modulePreload: false,
    rolldownOptions: {
      input: fileURLToPath(new URL("src/sw/service-worker.ts", import.meta.url)),
      output: { format: "iife", entryFileNames: "sw.js" },
    },
  },
});
