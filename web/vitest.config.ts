/** Unit tests of the web room: no network, no GPU, no browser. */
import { fileURLToPath } from "node:url";

import { defineConfig } from "vitest/config";

import { xgrammarBinding } from "./xgrammar-binding.ts";

export default defineConfig({
  plugins: [xgrammarBinding()],
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  test: {
    root: fileURLToPath(new URL("..", import.meta.url)),
    include: ["tests/web/**/*.test.{ts,tsx}"],
    environment: "node",
    setupFiles: ["tests/web/setup.ts"],
    // What hangs is found in the end; a machine that is busy elsewhere has not failed.
    testTimeout: 120_000,
    hookTimeout: 120_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
