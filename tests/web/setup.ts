/** Before each file of tests: waits that outlast a busy machine, and an end without late effects. */
import { afterAll, vi } from "vitest";

const { waitFor } = vi;
// Vitest's own second has no setting.
vi.waitFor = (callback, options = { timeout: 60_000 }) => waitFor(callback, options);

const { setTimeout } = globalThis;
afterAll(async () => {
  // Preact runs effects up to 35 ms later, and jsdom takes its functions along when it goes.
  if (typeof document !== "undefined") {
    await new Promise((resolve) => setTimeout(resolve, 100));
    // What the page loads by itself has come, and was used.
    await vi.dynamicImportSettled();
  }
});
