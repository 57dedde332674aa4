/**
 * From a bundle to a model that talks or embeds, in the order of docs/walk.md steps 12 and 13.
 *
 * Knows the order and what each step needs; how bytes arrive (network, folder) and which GPU runs
 * them is the caller's. Every file is verified before it is used: `BundleReader` gives no others.
 */
import { TransomError } from "../errors.ts";
import type {
  AdapterReport,
  Fit,
  LoadProgress,
  LoadReport,
  LoadRequest,
  Task,
} from "../protocol.ts";
import { type BundleReader, readAhead } from "../store/bundle.ts";
import type { FunctionHints } from "../store/function-hints.ts";
import { LICENSES, MEDIA_TYPES, type Manifest, layerOf } from "../store/manifest.ts";
import type { ByteMeter } from "../store/progress.ts";
import type { ShardRecord } from "../store/tensor-cache.ts";
import { openGpu } from "../support.ts";
import { parseTask } from "./chat-config.ts";
import type { LibraryChoice } from "./choose.ts";
import { ChatModel } from "./chat-model.ts";
import { EmbeddingModel } from "./embedding-model.ts";
import { Engine } from "./engine.ts";
import { requireMatch } from "./library-metadata.ts";
import { Tracker } from "./load-tracker.ts";
import { ProgramModel } from "./program/program-model.ts";
import type { BatchRuntime } from "./runtime.ts";
import { BatchEngine } from "./scheduling/batch-engine.ts";
import { PrefixKeeper, type PrefixStore } from "./scheduling/prefix-store.ts";
import { requireFit, survey } from "./survey.ts";
import { readTalk } from "./talk.ts";
import { Tokenizer } from "./tokenizer.ts";
import { TvmEncoder } from "./tvm-encoder.ts";
import { TvmLibrary } from "./tvm-library.ts";
import { TvmRuntime } from "./tvm-runtime.ts";

export interface LoadEnvironment {
  gpu: GPU | undefined;
  openBundle(
    meter: ByteMeter,
    onProgress: (file: string | null) => void,
  ): BundleReader | Promise<BundleReader>;
  /** GiB of memory, where the browser says it. */
  deviceMemory?: number | null;
  /** Makes room on the GPU before the weights come. @returns models that had to leave. */
  admit?(name: string, fit: Fit): readonly string[];
  /** What earlier visits left; null where nothing is kept. */
  prefixes?: PrefixStore | null;
  functionHints?: Pick<FunctionHints, "of" | "note"> | null;
  memoryBudgetBytes?: number | undefined;
  isForced?: boolean | undefined;
}

export interface LoadedModel {
  model: ChatModel | EmbeddingModel;
  report: LoadReport;
  /**
   * Free all that it holds on the GPU. Each model has a device of its own: destroying it frees every
   * buffer, whoever made it, and a device that is lost takes one model along.
   */
  dispose(): void;
}

/** The same model as one that chats. @throws TransomError `invalid-request` where it does not. */
export function requireChat({ model, report }: Pick<LoadedModel, "model" | "report">): ChatModel {
  if (model instanceof ChatModel) {
    return model;
  }
  throw new TransomError(
    "invalid-request",
    `${report.model} is an embedding model: it turns texts into vectors and does not chat.`,
  );
}

/** The same model as one that embeds. @throws TransomError `invalid-request` where it does not. */
export function requireEmbedding({
  model,
  report,
}: Pick<LoadedModel, "model" | "report">): EmbeddingModel {
  if (model instanceof EmbeddingModel) {
    return model;
  }
  throw new TransomError(
    "invalid-request",
    `${report.model} is a chat model: it has no vectors of texts to give.`,
  );
}

/** @throws TransomError naming what is missing or wrong. */
export async function loadModel(
  overrides: LoadRequest["overrides"],
  environment: LoadEnvironment,
  onProgress: (progress: LoadProgress) => void,
): Promise<LoadedModel> {
  const tracker = new Tracker(onProgress);
  const bundle = await environment.openBundle(tracker.meter, tracker.report);

  tracker.enter("adapter");
  const { device, adapter } = await openGpu(environment.gpu);
  try {
    return await loadOn(device, adapter, bundle, overrides, environment, tracker);
  } catch (error) {
    // Whatever was uploaded goes with it.
    device.destroy();
    throw error;
  }
}

async function loadOn(
  device: GPUDevice,
  adapter: AdapterReport,
  bundle: BundleReader,
  overrides: LoadRequest["overrides"],
  environment: LoadEnvironment,
  tracker: Tracker,
): Promise<LoadedModel> {
  tracker.enter("manifest");
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const { deviceMemory = null, memoryBudgetBytes, isForced = false } = environment;
  const machine = { adapter, deviceMemory, maxBufferSize, maxStorageBufferBindingSize };
  const { manifest, choice, files, configBytes, shards, fit } = await survey(
    bundle,
    machine,
    overrides,
    memoryBudgetBytes,
  );
  tracker.meter.expect(files.reduce((sum, file) => sum + file.size, 0));
  tracker.fits(fit);
  requireFit(fit, isForced);
  const unloaded = environment.admit?.(bundle.name, fit) ?? [];
  const kept = await bundle.prepare(files);

  tracker.enter("library");
  const task = parseTask(configBytes);
  const tokenizer = new Tokenizer(await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tokenizer)));
  const talk = task === "chat" ? await readTalk(bundle, manifest, configBytes, tokenizer) : null;
  const file = await bundle.readFile(choice.file);
  const { functionHints = null, prefixes = null } = environment;
  const hinted = (await functionHints?.of(choice.file.digest)) ?? [];
  const library =
    choice.product === "program"
      ? new ProgramModel(file, device, hinted, (names) => {
          void functionHints?.note(choice.file.digest, names);
        })
      : await TvmLibrary.start(file, device);
  requireMatch(
    library.metadata.params,
    shards.flatMap(({ tensors }) => tensors),
  );
  requireTask(library, task);

  // A publisher may want less than the library could hold: the KV cache is memory.
  const contextWindowSize = Math.min(
    library.metadata.contextWindowSize,
    talk?.config.contextWindowSize ?? Infinity,
    talk?.defaults.parameters.contextWindowSize ?? Infinity,
  );

  tracker.enter("weights");
  const pipelines =
    choice.pipelines === "ahead"
      ? library.buildPipelines((fraction) => {
          tracker.pipelines(fraction);
        })
      : Promise.resolve();
  // Both go on together; a failure of one must not leave the other's unheard.
  await Promise.all([pipelines, uploadShards(bundle, shards, library, tracker)]);
  const model =
    talk === null
      ? new EmbeddingModel(new TvmEncoder(requireLibrary(library)), tokenizer)
      : new ChatModel(
          library instanceof ProgramModel
            ? startBatches(library.start(contextWindowSize), prefixes, manifest, choice)
            : new Engine(new TvmRuntime(library, contextWindowSize)),
          tokenizer,
          talk.template,
          talk.config,
          talk.defaults,
        );
  await library.settle();

  tracker.enter("ready");
  return {
    model,
    report: {
      model: bundle.name,
      task,
      engine: "webgpu",
      adapter,
      computeDtype: library.metadata.computeDtype,
      schedule: choice.schedule,
      pipelines: choice.pipelines,
      processor: null,
      contextWindowSize,
      licenses: manifest.annotations.get(LICENSES) ?? null,
      gpuBytes: fit.gpuBytes,
      unloaded,
      ...kept,
      ...tracker.summary(),
    },
    dispose: () => {
      model.dispose();
      device.destroy();
    },
  };
}

async function uploadShards(
  bundle: BundleReader,
  shards: readonly ShardRecord[],
  library: TvmLibrary | ProgramModel,
  tracker: Tracker,
): Promise<void> {
  const byTitle = new Map(shards.map((shard) => [shard.file.title, shard]));
  const files = shards.map(({ file }) => file);
  for await (const { file, bytes } of readAhead(bundle, files)) {
    const shard = byTitle.get(file.title);
    if (shard !== undefined) {
      await library.upload(shard, bytes);
    }
  }
  if (tracker.hasPipelinesLeft) {
    tracker.enter("pipelines");
  }
}

/** Pages are right for one program on one set of weights. */
function startBatches(
  runtime: BatchRuntime,
  prefixes: PrefixStore | null,
  manifest: Manifest,
  { file }: LibraryChoice,
): BatchEngine {
  const weights = layerOf(manifest, MEDIA_TYPES.tensorCache).digest;
  const keeper =
    prefixes === null
      ? null
      : new PrefixKeeper(prefixes, `${weights} ${file.digest}`, runtime.limits.pageSize);
  return new BatchEngine(runtime, keeper);
}

/** Programs are for models that write. */
function requireLibrary(library: TvmLibrary | ProgramModel): TvmLibrary {
  if (library instanceof ProgramModel) {
    throw new TransomError("invalid-bundle", "The bundle has a program for a model that embeds.");
  }
  return library;
}

/** Config and library are made together, but travel apart. */
function requireTask({ metadata }: TvmLibrary | ProgramModel, task: Task): void {
  if (metadata.task !== task) {
    throw new TransomError(
      "invalid-bundle",
      `The model's config says ${task}, but its library is made for ${metadata.task}.`,
    );
  }
}
