/** Waits that end when nobody wants them any more. */
import { TransomError } from "./errors.ts";

/** Wait for something, but no longer than the caller wants it. @throws TransomError `aborted`. */
export async function stoppable<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  let leave: () => void = () => undefined;
  const stopped = new Promise<void>((resolve) => (leave = resolve)).then(() => {
    throw new TransomError("aborted", "Stopped.");
  });
  if (signal?.aborted === true) {
    leave();
  }
  signal?.addEventListener("abort", leave);
  try {
    return await Promise.race([stopped, work]);
  } finally {
    signal?.removeEventListener("abort", leave);
  }
}
