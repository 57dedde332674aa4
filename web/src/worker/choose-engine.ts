/** Which engine gets a model: WebGPU wherever it can run it, else the processor. Pure. */
import { type ErrorCode, TransomError } from "../errors.ts";
import type { LoadRequest } from "../protocol.ts";

/** What stands in the way of WebGPU for good, in words for the status line. */
const OBSTACLES: Partial<Record<TransomError["code"], string>> = {
  "no-webgpu": "No WebGPU here",
  "no-adapter": "No WebGPU here",
  "no-variant": "No variant for this graphics adapter",
  "adapter-too-small": "This graphics adapter is too small",
};

/**
 * Do something with a model on one of the engines.
 *
 * @param onProcessor gets the reason why not on the graphics adapter, in words and as a code; null: it
 *   was asked for.
 * @throws TransomError why not on WebGPU and, where the processor cannot either, why not there.
 */
export async function onBestEngine<T>(
  overrides: LoadRequest["overrides"],
  onWebGpu: () => Promise<T>,
  onProcessor: (reason: string | null, code: ErrorCode | null) => Promise<T>,
): Promise<T> {
  if (overrides.engine === "cpu") {
    return onProcessor(null, null);
  }
  try {
    return await onWebGpu();
  } catch (error) {
    const reason = error instanceof TransomError ? OBSTACLES[error.code] : undefined;
    if (!(error instanceof TransomError) || reason === undefined || asksForWebGpu(overrides)) {
      throw error;
    }
    try {
      return await onProcessor(reason, error.code);
    } catch (second) {
      throw both(error, second);
    }
  }
}

/** Whoever names a variant or a schedule means a graphics adapter. */
function asksForWebGpu({ engine, variant, schedule, product }: LoadRequest["overrides"]): boolean {
  return [engine, variant, schedule, product].some((said) => said !== undefined);
}

/** What the visitor can do is in the first error; that there is no GGUF only explains it. */
function both(first: TransomError, second: unknown): unknown {
  return second instanceof TransomError && second.code === "no-variant"
    ? new TransomError(first.code, `${first.message} ${second.message}`, { cause: second })
    : second;
}
