/** Builds the Node entry into `web/dist-node/generate.mjs`: the page's engine, without a page. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vite";

export default defineConfig({
  build: {
    target: "node20",
    ssr: fileURLToPath(new URL("src/node/generate.ts", import.meta.url)),
    outDir: "dist-node",
    sourcemap: true,
    rolldownOptions: {
      // Native (webgpu) or looking for Node's `require` when it starts (web-runtime): not bundled.
      external: ["webgpu", "@mlc-ai/web-runtime"],
      output: { entryFileNames: "generate.mjs" },
    },
  },
  ssr: { noExternal: true, external: ["webgpu", "@mlc-ai/web-runtime"] },
});
