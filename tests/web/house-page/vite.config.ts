/** Builds a page that has a house and nothing else: `tests/e2e/test_service_worker.py`. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  worker: { format: "es" },
  build: { target: "es2023", modulePreload: { polyfill: false }, emptyOutDir: false },
});
