/**
 * What a model is and whether it will fit, from its small files: index, manifest, config, tensor
 * list and, where there is one, the program. No weights and no library.
 */
import { TransomError } from "../errors.ts";
import { inMegabytes } from "../figures.ts";
import type { AdapterReport, Fit, FitProblem, LoadRequest } from "../protocol.ts";
import type { BundleReader, Measured } from "../store/bundle-reader.ts";
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
import { licencesOf } from "./licence.ts";
import { type LibraryChoice, chooseLibrary, chooseVariant } from "./choose.ts";
import { type Estimate, estimate } from "./memory-estimate.ts";
import { readDefaults } from "./model-defaults.ts";
import { type Program, parseProgram } from "./program/program.ts";

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
  /** Null: the choice is a library. */
  program: Program | null;
  fit: Fit;
}

/**
 * @param facing the machine, or a promise of it: the index is asked for meanwhile.
 * @throws TransomError `no-variant`, or what reading throws; what does not fit is no error here.
 */
export async function survey(
  bundle: BundleReader,
  facing: Machine | Promise<Machine>,
  overrides: LoadRequest["overrides"],
  memoryBudgetBytes: number | undefined,
): Promise<Survey> {
  const asking = bundle.readIndex();
  // Without a machine nobody waits for it.
  asking.catch(() => undefined);
  const machine = await facing;
  const row = chooseVariant(await asking, machine.adapter, overrides);
  const manifest = await bundle.readManifest(row);
  const choice = chooseLibrary(manifest, machine.adapter, overrides);
  const files = neededFiles(manifest, choice);
  const measured = await bundle.measure(files);
  const params = optionalLayerOf(manifest, MEDIA_TYPES.params);
  const [configBytes, tensorCache, paramsBytes, programBytes] = await Promise.all([
    bundle.readFile(manifest.config),
    bundle.readFile(layerOf(manifest, MEDIA_TYPES.tensorCache)),
    params === null ? null : bundle.readFile(params),
    // A library says what it needs only when it runs.
    choice.product === "program" ? bundle.readFile(choice.file) : null,
  ]);
  const shards = parseTensorCache(tensorCache, manifest);
  const { parameters } = readDefaults({ system: null, messages: null, params: paramsBytes });
  const program = programBytes === null ? null : parseProgram(programBytes);
  const variant = row.platform?.variant ?? "";
  const memory = estimate({
    shards,
    config: configBytes,
    program,
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
  return { manifest, choice, files, configBytes, shards, program, fit };
}

/** @throws TransomError for the first problem that refuses the load. */
export function requireFit({ problems }: Fit, isForced: boolean): void {
  const problem = problems.find(
    ({ refusal }) => refusal === "always" || (refusal === "unless-forced" && !isForced),
  );
  if (problem !== undefined) {
    const { code, message, facts } = problem;
    throw new TransomError(code, message, { facts });
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
      facts: { limitBytes: limit, tensor: largest.name, neededBytes: largest.sizeBytes },
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
      facts: { neededBytes: totalBytes, budgetBytes: budget.bytes },
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
      facts: { missingBytes, roomBytes: freeBytes + evictableBytes },
      refusal: "never",
    });
  }
  return problems;
}

function neededFiles(manifest: Manifest, choice: LibraryChoice): FileDescriptor[] {
  const others = manifest.layers.filter(({ mediaType }) => READ_WHOLE.has(mediaType));
  return [manifest.config, choice.file, ...others, ...licencesOf(manifest)];
}
