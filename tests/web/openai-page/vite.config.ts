/** Builds an app of the page's origin that uses npm's `openai`: `tests/e2e/test_page_api.py`. */
import { defineConfig } from "vite";

export default defineConfig({
  base: "./",
  build: { target: "es2023", modulePreload: { polyfill: false } },
});
