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
import { type BundleReader, readAhead } from "../store/bundle-reader.ts";
import type { FunctionHints } from "../store/function-hints.ts";
import {
  type FileDescriptor,
  LICENSES,
  MEDIA_TYPES,
  type Manifest,
  layerOf,
} from "../store/manifest.ts";
import type { ByteMeter } from "../store/progress.ts";
import type { ShardRecord } from "../store/tensor-cache.ts";
import type { VerifiedBytes } from "../store/verify.ts";
import { describeAdapter, findAdapter, openDevice, requireWebGpu } from "../support.ts";
import { parseTask } from "./chat-config.ts";
import type { LibraryChoice } from "./choose.ts";
import { ChatModel } from "./chat-model.ts";
import type { ChatTokenizer } from "./chat-tokenizer.ts";
import { EmbeddingModel } from "./embedding-model.ts";
import { Engine } from "./engine.ts";
import { inTurn } from "./in-turn.ts";
import { requireMatch } from "./library-metadata.ts";
import { readLicence } from "./licence.ts";
import { Tracker } from "./load-tracker.ts";
import { type ModelFacts, factsOf } from "./model-facts.ts";
import { ProgramModel } from "./program/program-model.ts";
import type { BatchRuntime } from "./runtime.ts";
import { BatchEngine } from "./scheduling/batch-engine.ts";
import { PrefixKeeper, type PrefixStore } from "./scheduling/prefix-store.ts";
import { type Machine, type Survey, requireFit, survey } from "./survey.ts";
import { type Talk, readTalk } from "./talk.ts";
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
  facts: ModelFacts;
  tokenizer: ChatTokenizer;
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
  const finding = findAdapter(requireWebGpu(environment.gpu));
  const { memoryBudgetBytes } = environment;
  const machine = finding.then((adapter) => machineOf(adapter, environment));
  const surveying = survey(bundle, machine, overrides, memoryBudgetBytes);
  surveying.catch(() => undefined);
  const adapter = await finding;
  tracker.enter("manifest");
  const opening = openDevice(adapter);
  try {
    const [device, found] = await Promise.all([opening, surveying]);
    return await loadOn(device, describeAdapter(adapter), bundle, found, environment, tracker);
  } catch (error) {
    // Whatever was uploaded goes with it, and a device that nobody waits for any more.
    void opening.then(
      (device) => {
        device.destroy();
      },
      () => undefined,
    );
    throw error;
  }
}

function machineOf(adapter: GPUAdapter, { deviceMemory = null }: LoadEnvironment): Machine {
  // Those of the device: it is asked for all that there is.
  const { maxBufferSize, maxStorageBufferBindingSize } = adapter.limits;
  return {
    adapter: describeAdapter(adapter),
    deviceMemory,
    maxBufferSize,
    maxStorageBufferBindingSize,
  };
}

async function loadOn(
  device: GPUDevice,
  adapter: AdapterReport,
  bundle: BundleReader,
  { manifest, choice, program, files, configBytes, shards, fit }: Survey,
  environment: LoadEnvironment,
  tracker: Tracker,
): Promise<LoadedModel> {
  const { functionHints = null, prefixes = null, isForced = false } = environment;
  tracker.meter.expect(files.reduce((sum, file) => sum + file.size, 0));
  tracker.fits(fit);
  requireFit(fit, isForced);
  const unloaded = environment.admit?.(bundle.name, fit) ?? [];
  const areHere = fit.downloadBytes === 0;
  // Hashed by another thread while this one makes a tokenizer.
  const weights = readAhead(bundle, filesOf(shards), areHere);
  const preparing = heard(bundle.prepare(files));
  if (!areHere) {
    // Room is made before anything comes.
    await preparing;
  }

  tracker.enter("library");
  const task = parseTask(configBytes);
  const hinted = (await functionHints?.of(choice.file.digest)) ?? [];
  // A step may tell twice at once, and of two writers the first may be done last.
  const note = inTurn(async (names: readonly string[]) => {
    await functionHints?.note(choice.file.digest, names);
  });
  const library =
    program !== null
      ? new ProgramModel(program, device, hinted, (names) => {
          void note(names);
        })
      : await TvmLibrary.start(await bundle.readFile(choice.file), device);
  requireMatch(
    library.metadata.params,
    shards.flatMap(({ tensors }) => tensors),
  );
  requireTask(library, task);
  // The driver compiles while the rest comes.
  const pipelines = heard(
    choice.pipelines === "ahead"
      ? library.buildPipelines((fraction) => {
          tracker.pipelines(fraction);
        })
      : Promise.resolve(),
  );
  tracker.enter("weights");
  const learning = heard(readTongue(bundle, manifest, configBytes, task));
  if (!areHere) {
    // What is wrong with the small files is told before the large ones come.
    await learning;
  }
  // Nobody wants the rest of the weights then.
  learning.catch(() => weights.return(undefined));
  const [{ tokenizer, talk }, licence, kept] = await Promise.all([
    learning,
    readLicence(bundle, manifest),
    preparing,
    // Both go on together; a failure of one must not leave the other's unheard.
    pipelines,
    uploadShards(weights, shards, library, tracker),
  ]);
  // A publisher may want less than the library could hold: the KV cache is memory.
  const contextWindowSize = Math.min(
    library.metadata.contextWindowSize,
    talk?.config.contextWindowSize ?? Infinity,
    talk?.defaults.parameters.contextWindowSize ?? Infinity,
  );
  const engine =
    talk === null
      ? null
      : library instanceof ProgramModel
        ? startBatches(library.start(contextWindowSize), prefixes, manifest, choice)
        : new Engine(new TvmRuntime(library, contextWindowSize));
  const model =
    talk === null || engine === null
      ? new EmbeddingModel(new TvmEncoder(requireLibrary(library)), tokenizer)
      : new ChatModel(engine, tokenizer, talk.template, talk.config, talk.defaults);
  await library.settle();

  tracker.enter("ready");
  return {
    model,
    tokenizer,
    facts: { ...factsOf(tokenizer, talk, engine), licence },
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

/** What the model reads and writes; `talk` is null of one that embeds. */
async function readTongue(
  bundle: BundleReader,
  manifest: Manifest,
  configBytes: VerifiedBytes,
  task: Task,
): Promise<{ tokenizer: Tokenizer; talk: Talk | null }> {
  const tokenizer = new Tokenizer(await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tokenizer)));
  const talk = task === "chat" ? await readTalk(bundle, manifest, configBytes, tokenizer) : null;
  return { tokenizer, talk };
}

function filesOf(shards: readonly ShardRecord[]): FileDescriptor[] {
  return shards.map(({ file }) => file);
}

/** The same work; its failure may wait until somebody asks for it. */
function heard<T>(work: Promise<T>): Promise<T> {
  work.catch(() => undefined);
  return work;
}

async function uploadShards(
  files: AsyncIterable<{ file: FileDescriptor; bytes: VerifiedBytes }>,
  shards: readonly ShardRecord[],
  library: TvmLibrary | ProgramModel,
  tracker: Tracker,
): Promise<void> {
  const byTitle = new Map(shards.map((shard) => [shard.file.title, shard]));
  // What the GPU still takes of one shard while the next is read: its bytes are given away by then.
  let staged = Promise.resolve();
  for await (const { file, bytes } of files) {
    await staged;
    const shard = byTitle.get(file.title);
    if (shard !== undefined) {
      staged = heard(library.upload(shard, bytes));
    }
  }
  await staged;
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
