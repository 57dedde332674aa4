/** What the storage section says, in words. Pure. */
import type { Fit, Storage, StoredModel } from "../protocol.ts";
import { formatBytes } from "./format.ts";

const DAY_MS = 24 * 60 * 60 * 1000;

/** "2 models are kept in this browser. 215 MB of 60.0 GB are in use. Models stay until …" */
export function describeStorage({ models, quotaBytes, usedBytes, isPersisted }: Storage): string {
  const count = models.length;
  const parts = [
    count === 0
      ? "No model is kept in this browser yet."
      : `${count === 1 ? "One model is" : `${count} models are`} kept in this browser.`,
  ];
  if (quotaBytes !== null && usedBytes !== null) {
    parts.push(`${formatBytes(usedBytes)} of ${formatBytes(quotaBytes)} are in use.`);
  }
  if (count > 0) {
    parts.push(
      isPersisted
        ? "Models stay until you delete them."
        : "The browser may remove models when the disk is full.",
    );
  }
  return parts.join(" ");
}

/** "107 MB to download, 3.2 MB here already. Takes about 190 MB of graphics memory." */
export function describeFit({ downloadBytes, storedBytes, gpuBytes, problems }: Fit): string {
  const coming =
    downloadBytes === 0
      ? `All ${formatBytes(storedBytes)} are on this device.`
      : storedBytes === 0
        ? `${formatBytes(downloadBytes)} to download.`
        : `${formatBytes(downloadBytes)} to download, ${formatBytes(storedBytes)} are here already.`;
  const warnings = problems.map(({ message }) => ` ${message}`).join("");
  return `${coming} The model takes about ${formatBytes(gpuBytes)} of graphics memory.${warnings}`;
}

/** "107 MB, 35.0 MB of it shared · used today" */
export function describeModel(model: StoredModel, now: number): string {
  const { totalBytes, storedBytes, sharedBytes, lastUsed, isInUse } = model;
  const parts: string[] = [];
  if (storedBytes < totalBytes) {
    parts.push(`incomplete: ${formatBytes(storedBytes)} of ${formatBytes(totalBytes)}`);
  } else {
    const shared = sharedBytes === 0 ? "" : `, ${formatBytes(sharedBytes)} of it shared`;
    parts.push(`${formatBytes(totalBytes)}${shared}`);
  }
  parts.push(isInUse ? "being loaded" : `used ${describeAge(now - lastUsed)}`);
  return parts.join(" · ");
}

/** What deleting it would free. */
export function freedBytes({ storedBytes, sharedBytes }: StoredModel): number {
  return Math.max(0, storedBytes - sharedBytes);
}

function describeAge(milliseconds: number): string {
  const days = Math.floor(milliseconds / DAY_MS);
  return days <= 0 ? "in the last 24 hours" : days === 1 ? "yesterday" : `${days} days ago`;
}
