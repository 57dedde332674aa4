/**
 * A model's files into storage, without a device: the walk of `load.ts` up to the weights, and no
 * further. What is here already stays, so that a download that was stopped goes on where it was.
 */
import { TransomError } from "../errors.ts";
import type { DownloadReport, LoadProgress, LoadRequest } from "../protocol.ts";
import type { BundleReader } from "../store/bundle-reader.ts";
import type { FileDescriptor } from "../store/manifest.ts";
import type { ByteMeter } from "../store/progress.ts";
import { describeAdapter, findAdapter } from "../support.ts";
import { onBestEngine } from "./choose-engine.ts";
import { Tracker } from "./load-tracker.ts";
import { type Survey, requireFit, survey } from "./survey.ts";

export interface DownloadEnvironment {
  gpu: GPU | undefined;
  /** GiB of memory, where the browser says it. */
  deviceMemory: number | null;
  openBundle(
    meter: ByteMeter,
    onProgress: (file: string | null) => void,
  ): BundleReader | Promise<BundleReader>;
  memoryBudgetBytes?: number | undefined;
  signal: AbortSignal;
}

/** What of a bundle is to come, and what of it stays though it is not needed today. */
type Wanted = Pick<Survey, "files" | "fit"> & { others?: readonly FileDescriptor[] };

/**
 * @throws TransomError `no-room` before the first byte of the weights; `aborted`, and what has come
 *   stays.
 */
export async function downloadModel(
  overrides: LoadRequest["overrides"],
  environment: DownloadEnvironment,
  onProgress: (progress: LoadProgress) => void,
): Promise<DownloadReport> {
  const tracker = new Tracker(onProgress);
  const bundle = await environment.openBundle(tracker.meter, tracker.report);
  return onBestEngine(
    overrides,
    async () => {
      tracker.enter("adapter");
      const adapter = await findAdapter(environment.gpu);
      const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
      const { deviceMemory, memoryBudgetBytes } = environment;
      const machine = {
        adapter: describeAdapter(adapter),
        deviceMemory,
        maxBufferSize,
        maxStorageBufferBindingSize,
      };
      tracker.enter("manifest");
      const found = await survey(bundle, machine, overrides, memoryBudgetBytes);
      return bringIn(bundle, found, tracker, environment.signal);
    },
    async () => {
      tracker.enter("manifest");
      const { findGguf, fitOf } = await import("./llama/gguf-bundle.ts");
      const found = await findGguf(bundle);
      const wanted = { ...found, fit: await fitOf(bundle, found) };
      return bringIn(bundle, wanted, tracker, environment.signal);
    },
  );
}

async function bringIn(
  bundle: BundleReader,
  { files, others = [], fit }: Wanted,
  tracker: Tracker,
  signal: AbortSignal,
): Promise<DownloadReport> {
  const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
  tracker.meter.expect(totalBytes);
  tracker.fits(fit);
  // Memory is the matter of whoever loads it.
  requireFit(fit, true);
  const { isKept, removed } = await bundle.prepare(files, others);
  if (!isKept) {
    const problem = fit.problems.find(({ code }) => code === "no-room");
    throw new TransomError(
      "no-room",
      problem?.message ?? `This browser has no room to keep ${bundle.name}; free disk space.`,
    );
  }
  tracker.enter("weights");
  for (const file of files) {
    if (signal.aborted) {
      throw new TransomError("aborted", "Stopped.");
    }
    // Laid down and verified there: no file is held in memory that is larger than a piece.
    await bundle.openFile(file);
  }
  tracker.enter("ready");
  const { bytesDownloaded, bytesFromCache } = tracker.summary();
  return { model: bundle.name, totalBytes, bytesDownloaded, bytesFromCache, removed };
}
