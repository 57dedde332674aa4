import { describe, expect, it } from "vitest";

import {
  describeFit,
  describeModel,
  describeStorage,
  freedBytes,
} from "../../web/src/page/storage-text.ts";
import type { Fit, StoredModel } from "../../web/src/protocol.ts";

const NOW = 1_000_000_000_000;
const MODEL: StoredModel = {
  id: "imported:sha256:00",
  name: "tiny",
  totalBytes: 107e6,
  storedBytes: 107e6,
  sharedBytes: 35e6,
  lastUsed: NOW - 50 * 3_600_000,
  isPinned: false,
  isInUse: false,
};
const FIT: Fit = {
  variant: "f32",
  downloadBytes: 100e6,
  storedBytes: 7e6,
  storageFreeBytes: 1e9,
  gpuBytes: 300e6,
  budgetBytes: 1e9,
  budgetReason: "",
  problems: [],
};

describe("the storage section", () => {
  it("says what a model takes, and what deleting it frees", () => {
    expect(describeModel(MODEL, NOW)).toBe("107 MB, 35.0 MB of it shared · used 2 days ago");
    expect(freedBytes(MODEL)).toBe(72e6);
    const coming = { ...MODEL, storedBytes: 40e6, isInUse: true };
    expect(describeModel(coming, NOW)).toBe("incomplete: 40.0 MB of 107 MB · being loaded");
  });

  it("says how much is in use, and whether it stays", () => {
    const storage = { models: [MODEL], quotaBytes: 60e9, usedBytes: 215e6, isPersisted: false };
    expect(describeStorage(storage)).toBe(
      "One model is kept in this browser. 215 MB of 60.0 GB are in use. " +
        "The browser may remove models when the disk is full.",
    );
    expect(describeStorage({ ...storage, models: [], quotaBytes: null })).toBe(
      "No model is kept in this browser yet.",
    );
  });

  it("says what is to come, and what speaks against it", () => {
    expect(describeFit(FIT)).toBe(
      "100 MB to download, 7.0 MB are here already. The model takes about 300 MB of graphics memory.",
    );
    const problems = [{ code: "no-room", message: "No room.", refusal: "never" }] as const;
    expect(describeFit({ ...FIT, downloadBytes: 0, problems })).toMatch(
      /^All 7.0 MB .* No room\.$/,
    );
  });
});
