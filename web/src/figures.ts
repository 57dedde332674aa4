/** Figures in the engine's own sentences. The page has its own way (`page/format.ts`). */

/** 97543210 -> "98 MB": what is asked for is never told as less than it is. */
export function inMegabytes(bytes: number): string {
  return `${Math.ceil(bytes / 1e6)} MB`;
}
