/** What a load tells while it goes on, and at its end. */
import type { Fit, LoadPhase, LoadProgress, LoadReport } from "../protocol.ts";
import { ByteMeter } from "../store/progress.ts";

/** Turns what happens into progress messages and, at the end, into the report's figures. */
export class Tracker {
  readonly meter = new ByteMeter(() => performance.now() / 1000);
  readonly #onProgress: (progress: LoadProgress) => void;
  readonly #startedAt = performance.now();
  readonly #phaseSeconds: Partial<Record<LoadPhase, number>> = {};
  #phase: LoadPhase = "adapter";
  #phaseStartedAt = performance.now();
  #pipelineFraction = 1;
  #fit: Fit | null = null;

  constructor(onProgress: (progress: LoadProgress) => void) {
    this.#onProgress = onProgress;
  }

  get hasPipelinesLeft(): boolean {
    return this.#pipelineFraction < 1;
  }

  enter(phase: LoadPhase): void {
    const now = performance.now();
    this.#phaseSeconds[this.#phase] =
      (this.#phaseSeconds[this.#phase] ?? 0) + (now - this.#phaseStartedAt) / 1000;
    this.#phase = phase;
    this.#phaseStartedAt = now;
    this.report(null);
  }

  fits(fit: Fit): void {
    this.#fit = fit;
    this.report(null);
  }

  pipelines(fraction: number): void {
    this.#pipelineFraction = fraction;
    this.report(null);
  }

  readonly report = (file: string | null): void => {
    this.#onProgress({
      ...this.meter.figures(),
      phase: this.#phase,
      file,
      pipelineFraction: this.#pipelineFraction,
      fit: this.#fit,
    });
  };

  summary(): Pick<
    LoadReport,
    "loadSeconds" | "bytesDownloaded" | "bytesFromCache" | "phaseSeconds"
  > {
    const { bytesDownloaded, bytesFromCache } = this.meter.figures();
    return {
      loadSeconds: (performance.now() - this.#startedAt) / 1000,
      bytesDownloaded,
      bytesFromCache,
      phaseSeconds: this.#phaseSeconds,
    };
  }
}
