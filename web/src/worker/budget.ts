/**
 * How much GPU memory models may take together. Pure: facts in, bytes and the reason out.
 *
 * WebGPU tells no memory size. What there is: the memory of the machine, coarse and capped, where
 * the browser says it (`navigator.deviceMemory`); the largest buffer that the adapter takes, which
 * no driver promises without having more than that; and what the caller knows better.
 */
export interface MachineFacts {
  /** GiB, as the browser says it; null where it does not. */
  deviceMemory: number | null;
  maxBufferSize: number;
}

export interface Budget {
  bytes: number;
  reason: string;
}

const GIB = 1024 ** 3;
/** The rest is the page's, the browser's and the system's. */
const MACHINE_SHARE = 0.75;
const BUFFER_MULTIPLE = 2;
/** Any machine that runs a browser with WebGPU. */
const LEAST_BYTES = GIB;

export function budgetOf(facts: MachineFacts, wanted: number | undefined): Budget {
  if (wanted !== undefined) {
    return { bytes: wanted, reason: "the limit that was set for this page" };
  }
  const { deviceMemory, maxBufferSize } = facts;
  if (deviceMemory !== null) {
    return {
      bytes: Math.max(LEAST_BYTES, deviceMemory * GIB * MACHINE_SHARE),
      reason: `three quarters of the ${deviceMemory} GiB of memory that the browser reports`,
    };
  }
  return {
    bytes: Math.max(LEAST_BYTES, maxBufferSize * BUFFER_MULTIPLE),
    reason: "twice the largest buffer that the graphics adapter takes; the browser tells no memory",
  };
}
