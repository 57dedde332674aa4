/**
 * What this machine's WebGPU can do, and a device opened on it.
 *
 * The only place that asks for an adapter. It works the same in a page, in a worker and in Node
 * (where the caller brings its own `GPU` object), and knows nothing about models.
 */
import { TransomError, describe } from "./errors.ts";
import type { AdapterReport } from "./protocol.ts";

/** Names under which WebGPU implementations that run on the CPU report themselves. */
const SOFTWARE_NAMES = /swiftshader|llvmpipe|lavapipe|softpipe|\bwarp\b|microsoft basic render/i;

/** Limits that compute kernels depend on; we ask for all that the adapter has. */
const COMPUTE_LIMITS = [
  "maxBufferSize",
  "maxStorageBufferBindingSize",
  "maxStorageBuffersPerShaderStage",
  "maxComputeWorkgroupStorageSize",
  "maxComputeInvocationsPerWorkgroup",
  "maxComputeWorkgroupSizeX",
  "maxComputeWorkgroupSizeY",
  "maxComputeWorkgroupSizeZ",
] as const;

/** Features that model libraries use where they exist. */
const WANTED_FEATURES: readonly GPUFeatureName[] = ["shader-f16", "subgroups"];

export interface OpenedGpu {
  device: GPUDevice;
  adapter: AdapterReport;
}

/** Describe an adapter. Frozen: nothing later may pretend the machine changed. */
export function describeAdapter(adapter: {
  info: Pick<GPUAdapterInfo, "vendor" | "architecture" | "description"> & {
    isFallbackAdapter?: boolean;
    device?: string;
  };
  features: { has(name: string): boolean };
  limits: { maxComputeWorkgroupStorageSize: number };
}): AdapterReport {
  const {
    vendor,
    architecture,
    description,
    device = "",
    isFallbackAdapter = false,
  } = adapter.info;
  const names = [vendor, architecture, description, device].join(" ");
  return Object.freeze({
    vendor,
    architecture,
    description,
    isFallback: isFallbackAdapter || SOFTWARE_NAMES.test(names),
    hasShaderF16: adapter.features.has("shader-f16"),
    workgroupBytes: adapter.limits.maxComputeWorkgroupStorageSize,
  });
}

/** @throws TransomError `no-webgpu`, saying what to do. */
export function requireWebGpu(gpu: GPU | undefined): GPU {
  if (gpu === undefined) {
    throw new TransomError(
      "no-webgpu",
      "This browser has no WebGPU. Use a current Chrome, Edge, Firefox or Safari, " +
        "over https or on localhost.",
    );
  }
  return gpu;
}

/** The best adapter. @throws TransomError `no-webgpu` or `no-adapter`, saying what to do. */
export async function findAdapter(offered: GPU | undefined): Promise<GPUAdapter> {
  const gpu = requireWebGpu(offered);
  const adapter = await gpu.requestAdapter({ powerPreference: "high-performance" });
  if (adapter === null) {
    throw new TransomError(
      "no-adapter",
      "WebGPU is here, but no graphics adapter is available. " +
        "Turn on hardware acceleration in the browser's settings, then reload.",
    );
  }
  return adapter;
}

/** Open the best adapter. @throws as `findAdapter` and `openDevice`. */
export async function openGpu(gpu: GPU | undefined): Promise<OpenedGpu> {
  const adapter = await findAdapter(gpu);
  return { device: await openDevice(adapter), adapter: describeAdapter(adapter) };
}

/**
 * A device with everything that its adapter offers to compute.
 *
 * @throws TransomError `no-adapter`, saying why.
 */
export async function openDevice(adapter: GPUAdapter): Promise<GPUDevice> {
  const requiredLimits: Record<string, number> = {};
  for (const name of COMPUTE_LIMITS) {
    requiredLimits[name] = adapter.limits[name];
  }
  try {
    return await adapter.requestDevice({
      requiredLimits,
      requiredFeatures: WANTED_FEATURES.filter((name) => adapter.features.has(name)),
    });
  } catch (error) {
    throw new TransomError("no-adapter", `The graphics adapter refused: ${describe(error)}`, {
      cause: error,
    });
  }
}

/** Threads that each subgroup of a device has at least; 0 where kernels cannot use them. */
export function subgroupThreads({ features, adapterInfo }: GPUDevice): number {
  return features.has("subgroups") ? adapterInfo.subgroupMinSize : 0;
}
