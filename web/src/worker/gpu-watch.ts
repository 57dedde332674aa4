/**
 * One device's health: whatever breaks below (lost device, refused command, no memory) comes out of
 * the next wait as one readable TransomError, and of every later one too.
 *
 * Knows GPU devices and words; `tvm-library.ts` and `program-runtime.ts` work behind it.
 */
import { TransomError, describe } from "../errors.ts";

/** How long after a rejected wait the GPU may take to say why. */
const REASON_PATIENCE_MS = 200;

export class GpuWatch {
  /** Rejects when the GPU fails; raced against every wait, so that no wait is for ever. */
  readonly #failure: Promise<never>;
  readonly #explain: (error: unknown) => TransomError;
  #reportFailure: (error: TransomError) => void = () => undefined;
  #failed: TransomError | null = null;

  /** @param explain what broke above the GPU, in words. */
  constructor(device: GPUDevice, explain: (error: unknown) => TransomError) {
    this.#explain = explain;
    this.#failure = new Promise((_, reject) => {
      this.#reportFailure = reject;
    });
    this.#failure.catch(() => undefined);
    device.addEventListener("uncapturederror", (event) => {
      const { error } = event;
      const isMemory = "GPUOutOfMemoryError" in globalThis && error instanceof GPUOutOfMemoryError;
      this.fail(
        isMemory
          ? new TransomError("out-of-memory", "The GPU has no memory left for this model.")
          : new TransomError("gpu-error", `The GPU refused a command: ${error.message}`),
      );
    });
    void device.lost.then(({ reason, message }) => {
      if (reason !== "destroyed") {
        this.fail(
          new TransomError(
            "device-lost",
            `The connection to the GPU was lost (${message.replace(/\.$/, "") || "no reason given"}). Reload the page.`,
          ),
        );
      }
    });
  }

  /** Wait for the GPU; a failure meanwhile ends the wait. */
  async wait<T>(work: Promise<T>): Promise<T> {
    this.throwIfFailed();
    try {
      const result = await Promise.race([work, this.#failure]);
      this.throwIfFailed();
      return result;
    } catch (error) {
      if (isGpuRejection(error)) {
        // Why the GPU let go is told a moment later.
        const patience = new Promise((resolve) => setTimeout(resolve, REASON_PATIENCE_MS));
        await Promise.race([patience, this.#failure.catch(() => undefined)]);
      }
      throw this.fail(error);
    }
  }

  /** Remember the first failure: it explains the later ones. */
  fail(error: unknown): TransomError {
    if (this.#failed === null) {
      this.#failed = this.#inWords(error);
      this.#reportFailure(this.#failed);
    }
    return this.#failed;
  }

  throwIfFailed(): void {
    if (this.#failed !== null) {
      throw this.#failed;
    }
  }

  /** Nothing is wrong, but nothing may be asked any more. */
  close(): void {
    this.#failed ??= new TransomError("not-loaded", "The model has been unloaded.");
  }

  #inWords(error: unknown): TransomError {
    if (error instanceof TransomError) {
      return error;
    }
    return isGpuRejection(error)
      ? new TransomError("device-lost", "The GPU no longer answers. Reload the page.")
      : this.#explain(error);
  }
}

/** Words for what broke in code of our own. */
export function explainCrash(error: unknown): TransomError {
  return new TransomError("engine-crashed", `The engine stopped: ${describe(error)}`, {
    cause: error,
  });
}

/** A lost device rejects what waits for it in this way. */
function isGpuRejection(error: unknown): boolean {
  return error instanceof Error && (error.name === "AbortError" || error.name === "OperationError");
}
