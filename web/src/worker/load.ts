/**
 * From a bundle to a model that talks or embeds, in the order of docs/walk.md steps 12 and 13.
 *
 * Knows the order and what each step needs; how bytes arrive (network, folder) and which GPU runs
 * them is the caller's. Every file is verified before it is used: `BundleReader` gives no others.
 */
import { TransomError } from "../errors.ts";
import type { LoadPhase, LoadProgress, LoadReport, LoadRequest, Task } from "../protocol.ts";
import { type BundleReader, readAhead } from "../store/bundle.ts";
import {
  type FileDescriptor,
  LICENSES,
  MEDIA_TYPES,
  type Manifest,
  layerOf,
  optionalLayerOf,
} from "../store/manifest.ts";
import { ByteMeter } from "../store/progress.ts";
import { type ShardRecord, parseTensorCache } from "../store/tensor-cache.ts";
import type { VerifiedBytes } from "../store/verify.ts";
import { openGpu } from "../support.ts";
import { parseChatConfig, parseTask } from "./chat-config.ts";
import { ChatModel } from "./chat-model.ts";
import { ChatTemplate } from "./chat-template.ts";
import { type LibraryChoice, chooseLibrary, chooseVariant } from "./choose.ts";
import { EmbeddingModel } from "./embedding-model.ts";
import { Engine } from "./engine.ts";
import { requireMatch } from "./library-metadata.ts";
import { readDefaults } from "./model-defaults.ts";
import { Tokenizer } from "./tokenizer.ts";
import { TvmEncoder } from "./tvm-encoder.ts";
import { TvmLibrary } from "./tvm-library.ts";
import { TvmRuntime } from "./tvm-runtime.ts";

export interface LoadEnvironment {
  gpu: GPU | undefined;
  openBundle(meter: ByteMeter, onProgress: (file: string | null) => void): BundleReader;
}

export interface LoadedModel {
  model: ChatModel | EmbeddingModel;
  report: LoadReport;
}

/** The same model as one that chats. @throws TransomError `invalid-request` where it does not. */
export function requireChat({ model, report }: LoadedModel): ChatModel {
  if (model instanceof ChatModel) {
    return model;
  }
  throw new TransomError(
    "invalid-request",
    `${report.model} is an embedding model: it turns texts into vectors and does not chat.`,
  );
}

/** The same model as one that embeds. @throws TransomError `invalid-request` where it does not. */
export function requireEmbedding({ model, report }: LoadedModel): EmbeddingModel {
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
  const bundle = environment.openBundle(tracker.meter, tracker.report);

  tracker.enter("adapter");
  const { device, adapter } = await openGpu(environment.gpu);

  tracker.enter("manifest");
  const manifest = await bundle.readManifest(
    chooseVariant(await bundle.readIndex(), adapter, overrides),
  );
  const choice = chooseLibrary(manifest, adapter, overrides);
  const files = neededFiles(manifest, choice);
  tracker.meter.expect(files.reduce((sum, file) => sum + file.size, 0));
  const kept = await bundle.prepare(files);

  tracker.enter("library");
  const configBytes = await bundle.readFile(manifest.config);
  const task = parseTask(configBytes);
  const tokenizer = new Tokenizer(await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tokenizer)));
  const talk = task === "chat" ? await readTalk(bundle, manifest, configBytes, tokenizer) : null;
  const tensorCache = await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tensorCache));
  const shards = parseTensorCache(tensorCache, manifest);
  const library = await TvmLibrary.start(await bundle.readFile(choice.file), device);
  requireMatch(
    library.metadata.params,
    shards.flatMap(({ tensors }) => tensors),
  );
  requireTask(library, task);
  requireFit(shards, device);

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
      ? new EmbeddingModel(new TvmEncoder(library), tokenizer)
      : new ChatModel(
          new Engine(new TvmRuntime(library, contextWindowSize)),
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
      adapter,
      computeDtype: library.metadata.computeDtype,
      schedule: choice.schedule,
      pipelines: choice.pipelines,
      contextWindowSize,
      licenses: manifest.annotations.get(LICENSES) ?? null,
      ...kept,
      ...tracker.summary(),
    },
  };
}

/** What turns messages into a prompt, and says where an answer ends. */
async function readTalk(
  bundle: BundleReader,
  manifest: Manifest,
  configBytes: VerifiedBytes,
  tokenizer: Tokenizer,
) {
  const config = parseChatConfig(configBytes);
  // A decoder that we do not know is told now, not at the first token.
  tokenizer.startDecoding();
  const read = async (mediaType: string) => {
    const layer = optionalLayerOf(manifest, mediaType);
    return layer === null ? null : bundle.readFile(layer);
  };
  const defaults = readDefaults({
    system: await read(MEDIA_TYPES.system),
    messages: await read(MEDIA_TYPES.messages),
    params: await read(MEDIA_TYPES.params),
  });
  const source = await read(MEDIA_TYPES.template);
  const { system, messages, parameters } = defaults;
  if (source === null) {
    // A model that continues one text has no place for messages.
    sayUnused([
      ...parameters.unused,
      ...(system === null ? [] : ["system"]),
      ...(messages.length === 0 ? [] : ["messages"]),
    ]);
    return { config, template: null, defaults };
  }
  sayUnused(parameters.unused);
  const spelling = (id: number | null) => (id === null ? "" : (tokenizer.spelling(id) ?? ""));
  const template = new ChatTemplate(new TextDecoder().decode(source), {
    bos: spelling(config.bosTokenId),
    eos: spelling(config.eosTokenId),
    addsBos: config.bosTokenId !== null && tokenizer.encodeWhole("").includes(config.bosTokenId),
  });
  return { config, template, defaults };
}

/** A publisher's setting that does nothing here is said, not hidden; it stops nobody. */
function sayUnused(names: readonly string[]): void {
  if (names.length > 0) {
    // eslint-disable-next-line no-console -- for whoever wonders why a setting does nothing
    console.warn(`This engine does not use the model's ${names.join(", ")}.`);
  }
}

async function uploadShards(
  bundle: BundleReader,
  shards: readonly ShardRecord[],
  library: TvmLibrary,
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

/** Layers that every load reads; of the libraries it reads one. */
const READ_WHOLE: ReadonlySet<string> = new Set([
  MEDIA_TYPES.shard,
  MEDIA_TYPES.tensorCache,
  MEDIA_TYPES.tokenizer,
  MEDIA_TYPES.template,
  MEDIA_TYPES.system,
  MEDIA_TYPES.params,
  MEDIA_TYPES.messages,
]);

function neededFiles(manifest: Manifest, choice: LibraryChoice): FileDescriptor[] {
  const others = manifest.layers.filter(({ mediaType }) => READ_WHOLE.has(mediaType));
  return [manifest.config, choice.file, ...others];
}

/** Config and library are made together, but travel apart. */
function requireTask({ metadata }: TvmLibrary, task: Task): void {
  if (metadata.task !== task) {
    throw new TransomError(
      "invalid-bundle",
      `The model's config says ${task}, but its library is made for ${metadata.task}.`,
    );
  }
}

/** Each tensor becomes one buffer that kernels bind whole: say so before the download. */
function requireFit(shards: readonly ShardRecord[], device: GPUDevice): void {
  const limit = Math.min(device.limits.maxBufferSize, device.limits.maxStorageBufferBindingSize);
  for (const { name, sizeBytes } of shards.flatMap(({ tensors }) => tensors)) {
    if (sizeBytes > limit) {
      throw new TransomError(
        "adapter-too-small",
        `This graphics adapter takes buffers of ${limit} bytes at most; ` +
          `the model's ${name} has ${sizeBytes}.`,
      );
    }
  }
}

/** Turns what happens into progress messages and, at the end, into the report's figures. */
class Tracker {
  readonly meter = new ByteMeter(() => performance.now() / 1000);
  readonly #onProgress: (progress: LoadProgress) => void;
  readonly #startedAt = performance.now();
  readonly #phaseSeconds: Partial<Record<LoadPhase, number>> = {};
  #phase: LoadPhase = "adapter";
  #phaseStartedAt = performance.now();
  #pipelineFraction = 1;

  constructor(onProgress: (progress: LoadProgress) => void) {
    this.#onProgress = onProgress;
  }

  get hasPipelinesLeft(): boolean {
    return this.#pipelineFraction < 1;
  }

  enter(phase: LoadPhase): void {
    const now = performance.now();
    this.#phaseSeconds[this.#phase] =
      (this.#phaseSeconds[this.#phase] ?? 0) + (now - this.#phaseStartedAt) / 1000;
    this.#phase = phase;
    this.#phaseStartedAt = now;
    this.report(null);
  }

  pipelines(fraction: number): void {
    this.#pipelineFraction = fraction;
    this.report(null);
  }

  readonly report = (file: string | null): void => {
    this.#onProgress({
      ...this.meter.figures(),
      phase: this.#phase,
      file,
      pipelineFraction: this.#pipelineFraction,
    });
  };

  summary(): Pick<
    LoadReport,
    "loadSeconds" | "bytesDownloaded" | "bytesFromCache" | "phaseSeconds"
  > {
    const { bytesDownloaded, bytesFromCache } = this.meter.figures();
    return {
      loadSeconds: (performance.now() - this.#startedAt) / 1000,
      bytesDownloaded,
      bytesFromCache,
      phaseSeconds: this.#phaseSeconds,
    };
  }
}
