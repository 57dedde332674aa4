/**
 * From a bundle to a model that talks, in the order of docs/walk.md steps 12 and 13.
 *
 * Knows the order and what each step needs; how bytes arrive (network, folder) and which GPU runs
 * them is the caller's. Every file is verified before it is used: `BundleReader` gives no others.
 */
import { TransomError } from "../errors.ts";
import type { LoadPhase, LoadProgress, LoadReport, LoadRequest } from "../protocol.ts";
import { type BundleReader, readAhead } from "../store/bundle.ts";
import {
  type FileDescriptor,
  LICENSES,
  MEDIA_TYPES,
  type Manifest,
  layerOf,
} from "../store/manifest.ts";
import { ByteMeter } from "../store/progress.ts";
import { type ShardRecord, parseTensorCache } from "../store/tensor-cache.ts";
import { openGpu } from "../support.ts";
import { parseChatConfig } from "./chat-config.ts";
import { ChatModel } from "./chat-model.ts";
import { ChatTemplate } from "./chat-template.ts";
import { type LibraryChoice, chooseLibrary, chooseVariant } from "./choose.ts";
import { Engine } from "./engine.ts";
import { requireMatch } from "./library-metadata.ts";
import { Tokenizer } from "./tokenizer.ts";
import { TvmRuntime } from "./tvm-runtime.ts";

export interface LoadEnvironment {
  gpu: GPU | undefined;
  openBundle(meter: ByteMeter, onProgress: (file: string | null) => void): BundleReader;
}

export interface LoadedModel {
  model: ChatModel;
  report: LoadReport;
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
  tracker.meter.expect(neededFiles(manifest, choice).reduce((sum, file) => sum + file.size, 0));

  tracker.enter("library");
  const talk = await readTalk(bundle, manifest);
  const tensorCache = await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tensorCache));
  const shards = parseTensorCache(tensorCache, manifest);
  const runtime = await TvmRuntime.start(await bundle.readFile(choice.file), device);
  requireMatch(
    runtime.metadata.params,
    shards.flatMap(({ tensors }) => tensors),
  );
  requireFit(shards, device);

  tracker.enter("weights");
  const pipelines =
    choice.pipelines === "ahead"
      ? runtime.buildPipelines((fraction) => {
          tracker.pipelines(fraction);
        })
      : Promise.resolve();
  // Both go on together; a failure of one must not leave the other's unheard.
  await Promise.all([pipelines, uploadShards(bundle, shards, runtime, tracker)]);
  runtime.finish();
  await runtime.settle();

  tracker.enter("ready");
  return {
    model: new ChatModel(new Engine(runtime), talk.tokenizer, talk.template, talk.config),
    report: {
      model: bundle.name,
      adapter,
      computeDtype: runtime.metadata.computeDtype,
      schedule: choice.schedule,
      pipelines: choice.pipelines,
      contextWindowSize: runtime.contextWindowSize,
      licenses: manifest.annotations.get(LICENSES) ?? null,
      ...tracker.summary(),
    },
  };
}

/** The files that turn messages into tokens and back. */
async function readTalk(bundle: BundleReader, manifest: Manifest) {
  const config = parseChatConfig(await bundle.readFile(manifest.config));
  const tokenizer = new Tokenizer(await bundle.readFile(layerOf(manifest, MEDIA_TYPES.tokenizer)));
  const source = new TextDecoder().decode(
    await bundle.readFile(layerOf(manifest, MEDIA_TYPES.template)),
  );
  const spelling = (id: number | null) => (id === null ? "" : (tokenizer.spelling(id) ?? ""));
  const template = new ChatTemplate(source, {
    bos: spelling(config.bosTokenId),
    eos: spelling(config.eosTokenId),
  });
  return { config, tokenizer, template };
}

async function uploadShards(
  bundle: BundleReader,
  shards: readonly ShardRecord[],
  runtime: TvmRuntime,
  tracker: Tracker,
): Promise<void> {
  const byTitle = new Map(shards.map((shard) => [shard.file.title, shard]));
  const files = shards.map(({ file }) => file);
  for await (const { file, bytes } of readAhead(bundle, files)) {
    const shard = byTitle.get(file.title);
    if (shard !== undefined) {
      await runtime.upload(shard, bytes);
    }
  }
  if (tracker.hasPipelinesLeft) {
    tracker.enter("pipelines");
  }
}

function neededFiles(manifest: Manifest, choice: LibraryChoice): FileDescriptor[] {
  const others = manifest.layers.filter(
    ({ mediaType }) =>
      mediaType === MEDIA_TYPES.shard ||
      mediaType === MEDIA_TYPES.tensorCache ||
      mediaType === MEDIA_TYPES.tokenizer ||
      mediaType === MEDIA_TYPES.template,
  );
  return [manifest.config, choice.file, ...others];
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
