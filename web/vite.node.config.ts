/** Builds the Node entries into `web/dist-node/*.mjs`: the page's engine, without a page. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

import { xgrammarBinding } from "./xgrammar-binding.ts";

const entry = (name: string) => fileURLToPath(new URL(`src/node/${name}.ts`, import.meta.url));

export default defineConfig({
  plugins: [xgrammarBinding()],
  build: {
    target: "node20",
    ssr: true,
    outDir: "dist-node",
    sourcemap: true,
    rolldownOptions: {
      input: {
        bench: entry("bench"),
        complete: entry("complete"),
        dawn: entry("dawn"),
        draws: entry("draws"),
        embed: entry("embed"),
        generate: entry("generate"),
        measure: entry("measure"),
        together: entry("together"),
        tokenize: entry("tokenize"),
      },
      // Native (webgpu) or looking for Node's `require` when it starts (web-runtime): not bundled.
      external: ["webgpu", "@mlc-ai/web-runtime"],
      output: { entryFileNames: "[name].mjs", chunkFileNames: "[name].mjs" },
    },
  },
  ssr: { noExternal: true, external: ["webgpu", "@mlc-ai/web-runtime"] },
});
