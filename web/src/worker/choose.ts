/**
 * Which variant, library and pipeline loading fit this machine. Pure: facts in, choice out.
 *
 * f16 wants `shader-f16`. A software adapter takes the "fallback" schedule (barriers cost it
 * dearly) where the bundle has one. Pipelines are built ahead everywhere: our libraries have so few
 * that on SwiftShader it adds 1.4 s to a load of 2.1 s and takes as much off the first answer.
 */
import { TransomError } from "../errors.ts";
import type {
  AdapterReport,
  LoadRequest,
  PipelineLoading,
  Product,
  Schedule,
  Variant,
} from "../protocol.ts";
import {
  type Descriptor,
  type FileDescriptor,
  type Index,
  MEDIA_TYPES,
  type Manifest,
  SCHEDULE,
  layersOf,
} from "../store/manifest.ts";

type Overrides = LoadRequest["overrides"];

const PRODUCT_TYPES: Readonly<Record<Product, string>> = {
  program: MEDIA_TYPES.program,
  library: MEDIA_TYPES.library,
};

/** TVM writes its f16 attention for this much; the f32 kernels stay within the 16 KiB of WebGPU. */
const F16_WORKGROUP_BYTES = 32 * 1024;

/** The index row to load. @throws TransomError `no-variant` saying what there is. */
export function chooseVariant(
  index: Index,
  adapter: AdapterReport,
  overrides: Overrides,
): Descriptor {
  const rows = index.manifests.filter(
    ({ platform }) => platform?.os === "browser" && platform.architecture === "webgpu",
  );
  const byVariant = new Map(rows.map((row) => [row.platform?.variant ?? "", row]));
  const wanted = overrides.variant ? [overrides.variant] : preferred(adapter);
  for (const variant of wanted) {
    const row = byVariant.get(variant);
    if (row !== undefined && (variant !== "f16" || runsF16(adapter))) {
      return row;
    }
  }
  const offered = [...byVariant.keys()].join(", ") || "none";
  const lacks = runsF16(adapter)
    ? ""
    : adapter.hasShaderF16
      ? `; f16 needs ${String(F16_WORKGROUP_BYTES)} bytes of workgroup memory, this adapter has ${String(adapter.workgroupBytes)}`
      : "; this adapter has no shader-f16";
  throw new TransomError(
    "no-variant",
    `The model has no variant ${wanted.join(" or ")} for this browser (it has: ${offered}${lacks}).`,
  );
}

function runsF16(adapter: AdapterReport): boolean {
  return adapter.hasShaderF16 && adapter.workgroupBytes >= F16_WORKGROUP_BYTES;
}

/** f16 halves the work on a GPU; on a CPU it is emulated, so f32 comes first there. */
function preferred(adapter: AdapterReport): Variant[] {
  if (!runsF16(adapter)) {
    return ["f32"];
  }
  return adapter.isFallback ? ["f32", "f16"] : ["f16", "f32"];
}

export interface LibraryChoice {
  file: FileDescriptor;
  product: Product;
  schedule: Schedule;
  pipelines: PipelineLoading;
}

/**
 * The program of a manifest to run, or its library where it has none.
 *
 * @throws TransomError `no-variant` when a forced one is missing.
 */
export function chooseLibrary(
  manifest: Manifest,
  adapter: AdapterReport,
  overrides: Overrides,
): LibraryChoice {
  const products: Product[] = overrides.product ? [overrides.product] : ["program", "library"];
  const schedules: Schedule[] = overrides.schedule
    ? [overrides.schedule]
    : adapter.isFallback
      ? ["fallback", "gpu"]
      : ["gpu", "fallback"];
  const offered = products.flatMap((product) =>
    layersOf(manifest, PRODUCT_TYPES[product]).map((file) => ({
      file,
      product,
      schedule: file.annotations.get(SCHEDULE) ?? "gpu",
    })),
  );
  for (const schedule of schedules) {
    const found = offered.find((one) => one.schedule === schedule);
    if (found !== undefined) {
      return { ...found, schedule, pipelines: overrides.pipelines ?? "ahead" };
    }
  }
  const names = [...new Set(offered.map(({ schedule }) => schedule))].join(", ") || "none";
  throw new TransomError(
    "no-variant",
    `The bundle has no ${products.join(" or ")} with schedule ${schedules.join(" or ")} (it has: ${names}).`,
  );
}
