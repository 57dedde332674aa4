/**
 * What a model is and whether it will fit, from its small files: index, manifest, config, tensor
 * list and, where there is one, the program. No weights and no library.
 */
import { TransomError } from "../errors.ts";
import { inMegabytes } from "../figures.ts";
import type { AdapterReport, Fit, FitProblem, LoadRequest } from "../protocol.ts";
import type { BundleReader, Measured } from "../store/bundle.ts";
import {
  type FileDescriptor,
  MEDIA_TYPES,
  type Manifest,
  layerOf,
  optionalLayerOf,
} from "../store/manifest.ts";
import { type ShardRecord, parseTensorCache } from "../store/tensor-cache.ts";
import type { VerifiedBytes } from "../store/verify.ts";
import { type Budget, type MachineFacts, budgetOf } from "./budget.ts";
import { type LibraryChoice, chooseLibrary, chooseVariant } from "./choose.ts";
import { type Estimate, estimate } from "./memory-estimate.ts";
import { readDefaults } from "./model-defaults.ts";
import { parseProgram } from "./program/program.ts";

/** Layers that every load reads; of libraries and programs it reads one each. */
const READ_WHOLE: ReadonlySet<string> = new Set([
  MEDIA_TYPES.shard,
  MEDIA_TYPES.tensorCache,
  MEDIA_TYPES.tokenizer,
  MEDIA_TYPES.template,
  MEDIA_TYPES.system,
  MEDIA_TYPES.params,
  MEDIA_TYPES.messages,
]);
const F16_BYTES = 2;
const F32_BYTES = 4;

/** What of a machine a model must fit into. */
export interface Machine extends MachineFacts {
  adapter: AdapterReport;
  maxStorageBufferBindingSize: number;
}

export interface Survey {
  manifest: Manifest;
  choice: LibraryChoice;
  /** All that this load reads. */
  files: readonly FileDescriptor[];
  configBytes: VerifiedBytes;
  shards: readonly ShardRecord[];
  fit: Fit;
}

/** @throws TransomError `no-variant`, or what reading throws; what does not fit is no error here. */
export async function survey(
  bundle: BundleReader,
  machine: Machine,
  overrides: LoadRequest["overrides"],
  memoryBudgetBytes: number | undefined,
): Promise<Survey> {
  const row = chooseVariant(await bundle.readIndex(), machine.adapter, overrides);
  const manifest = await bundle.readManifest(row);
  const choice = chooseLibrary(manifest, machine.adapter, overrides);
  const files = neededFiles(manifest, choice);
  const measured = await bundle.measure(files);
  const configBytes = await bundle.readFile(manifest.config);
  const tensorCache = await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tensorCache));
  const shards = parseTensorCache(tensorCache, manifest);
  const params = optionalLayerOf(manifest, MEDIA_TYPES.params);
  const { parameters } = readDefaults({
    system: null,
    messages: null,
    params: params === null ? null : await bundle.readFile(params),
  });
  const variant = row.platform?.variant ?? "";
  const memory = estimate({
    shards,
    config: configBytes,
    // A library says what it needs only when it runs.
    program: choice.product === "program" ? parseProgram(await bundle.readFile(choice.file)) : null,
    dtypeBytes: variant === "f16" ? F16_BYTES : F32_BYTES,
    bufferBytes: Math.min(machine.maxBufferSize, machine.maxStorageBufferBindingSize),
    contextWindow: parameters.contextWindowSize ?? Infinity,
  });
  const budget = budgetOf(machine, memoryBudgetBytes);
  const fit: Fit = {
    variant,
    downloadBytes: measured.missingBytes,
    storedBytes: measured.storedBytes,
    storageFreeBytes: measured.freeBytes,
    gpuBytes: memory.totalBytes,
    budgetBytes: budget.bytes,
    budgetReason: budget.reason,
    problems: problemsOf(memory, budget, measured, machine),
  };
  return { manifest, choice, files, configBytes, shards, fit };
}

/** @throws TransomError for the first problem that refuses the load. */
export function requireFit({ problems }: Fit, isForced: boolean): void {
  const problem = problems.find(
    ({ refusal }) => refusal === "always" || (refusal === "unless-forced" && !isForced),
  );
  if (problem !== undefined) {
    throw new TransomError(problem.code, problem.message);
  }
}

export function problemsOf(
  { largest, totalBytes }: Estimate,
  budget: Budget,
  { missingBytes, freeBytes, evictableBytes }: Measured,
  { maxBufferSize, maxStorageBufferBindingSize }: Machine,
): FitProblem[] {
  const problems: FitProblem[] = [];
  // Each tensor becomes one buffer that kernels bind whole.
  const limit = Math.min(maxBufferSize, maxStorageBufferBindingSize);
  if (largest.sizeBytes > limit) {
    problems.push({
      code: "adapter-too-small",
      message:
        `This graphics adapter takes buffers of ${limit} bytes at most; ` +
        `the model's ${largest.name} has ${largest.sizeBytes}.`,
      refusal: "always",
    });
  }
  if (totalBytes > budget.bytes) {
    problems.push({
      code: "out-of-memory",
      message:
        `The model takes about ${inMegabytes(totalBytes)} of graphics memory, and there are ` +
        `about ${inMegabytes(budget.bytes)} (${budget.reason}); choose a smaller model, or load ` +
        "it all the same.",
      refusal: "unless-forced",
    });
  }
  if (freeBytes !== null && missingBytes > freeBytes + evictableBytes) {
    problems.push({
      code: "no-room",
      message:
        `This browser has no room to keep the model: ${inMegabytes(missingBytes)} are to come, ` +
        `and there is room for ${inMegabytes(freeBytes + evictableBytes)}; free disk space, or ` +
        "remove models that are pinned.",
      refusal: "never",
    });
  }
  return problems;
}

function neededFiles(manifest: Manifest, choice: LibraryChoice): FileDescriptor[] {
  const others = manifest.layers.filter(({ mediaType }) => READ_WHOLE.has(mediaType));
  return [manifest.config, choice.file, ...others];
}
