/** A GPU that can do less than the real one, for tests: features and limits that others lack. */

/** What WebGPU promises of every adapter, of the limits that kernels depend on. */
const LEAST_LIMITS: Readonly<Record<string, number>> = {
  maxBufferSize: 256 * 1024 * 1024,
  maxStorageBufferBindingSize: 128 * 1024 * 1024,
  maxStorageBuffersPerShaderStage: 8,
  maxComputeWorkgroupStorageSize: 16_384,
  maxComputeInvocationsPerWorkgroup: 256,
  maxComputeWorkgroupSizeX: 256,
  maxComputeWorkgroupSizeY: 256,
  maxComputeWorkgroupSizeZ: 64,
};

export interface Lack {
  /** Features that it does not have. */
  without: readonly string[];
  /** Whether its limits are the least that WebGPU promises. */
  hasLeastLimits: boolean;
}

/** The same GPU, whose adapters say that they lack these; a device has no more than they say. */
export function lesserGpu(gpu: GPU, { without, hasLeastLimits }: Lack): GPU {
  const lessen = (adapter: GPUAdapter): GPUAdapter => {
    const features = new Set([...adapter.features].filter((name) => !without.includes(name)));
    return {
      info: adapter.info,
      features,
      limits: hasLeastLimits ? { ...LEAST_LIMITS } : adapter.limits,
      requestDevice: (descriptor?: GPUDeviceDescriptor) => {
        const refused = [...(descriptor?.requiredFeatures ?? [])].filter(
          (name) => !features.has(name),
        );
        if (refused.length > 0) {
          return Promise.reject(new TypeError(`This adapter lacks ${refused.join(", ")}.`));
        }
        return adapter.requestDevice(descriptor);
      },
    } as unknown as GPUAdapter;
  };
  return {
    requestAdapter: async (options?: GPURequestAdapterOptions) => {
      const adapter = await gpu.requestAdapter(options);
      return adapter === null ? null : lessen(adapter);
    },
  } as unknown as GPU;
}
