/** Before each file of tests: waits that outlast a busy machine. Vitest's own second has no setting. */
import { vi } from "vitest";

const { waitFor } = vi;
vi.waitFor = (callback, options = { timeout: 60_000 }) => waitFor(callback, options);
