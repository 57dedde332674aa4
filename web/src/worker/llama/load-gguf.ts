/**
 * From a bundle to a model on the processor: the same steps as `load.ts`, with llama.cpp for a GPU.
 *
 * Prompt, stop tokens and sampling are those of the browser platform of the same model, so that an
 * answer is the same wherever it is computed.
 */
import { TransomError } from "../../errors.ts";
import type { LoadProgress, LoadReport, LoadRequest } from "../../protocol.ts";
import type { BundleReader } from "../../store/bundle.ts";
import { LICENSES, MEDIA_TYPES, type Manifest, layerOf } from "../../store/manifest.ts";
import type { VerifiedFile } from "../../store/verify.ts";
import { parseTask } from "../chat-config.ts";
import { ChatModel } from "../chat-model.ts";
import { EmbeddingModel } from "../embedding-model.ts";
import { Engine } from "../engine.ts";
import { Tracker } from "../load-tracker.ts";
import type { LoadEnvironment, LoadedModel } from "../load.ts";
import { requireFit } from "../survey.ts";
import { readTalk } from "../talk.ts";
import { Tokenizer } from "../tokenizer.ts";
import { type GgufBundle, findGguf, fitOf, noGguf } from "./gguf-bundle.ts";
import { LlamaEncoder } from "./llama-encoder.ts";
import { startLlama } from "./llama-process.ts";
import { LlamaRuntime } from "./llama-runtime.ts";
import { Llama, type LlamaModel } from "./llama.ts";
import { threadCount } from "./threads.ts";

/** Where nobody says how long a conversation may be: a KV cache is memory. */
const CONTEXT_WINDOW = 4096;

/** What is loaded, and how long a text it takes. */
interface Talker {
  model: ChatModel | EmbeddingModel;
  contextWindowSize: number;
}

/**
 * @param reason why not on the graphics adapter, for the report.
 * @throws TransomError naming what is missing or wrong; `no-variant` where there is no GGUF.
 */
export async function loadGguf(
  reason: string | null,
  overrides: LoadRequest["overrides"],
  environment: Omit<LoadEnvironment, "gpu">,
  onProgress: (progress: LoadProgress) => void,
): Promise<LoadedModel> {
  const tracker = new Tracker(onProgress);
  const bundle = await environment.openBundle(tracker.meter, tracker.report);

  tracker.enter("manifest");
  const found = await findGguf(bundle);
  const fit = await fitOf(bundle, found);
  tracker.meter.expect(found.files.reduce((sum, file) => sum + file.size, 0));
  tracker.fits(fit);
  requireFit(fit, environment.isForced ?? false);
  // What is on a graphics adapter need not go.
  const unloaded = environment.admit?.(bundle.name, { ...fit, budgetBytes: Infinity }) ?? [];
  const kept = await bundle.prepare(found.files, found.others);

  tracker.enter("library");
  const threads = threadCount(
    navigator.hardwareConcurrency,
    crossOriginIsolated,
    overrides.threads,
  );
  const llama = new Llama(await startLlama(threads));
  try {
    const { browser } = found;
    if (browser === null) {
      throw new TransomError("no-variant", "not yet");
    }
    const configBytes = await bundle.readFile(browser.config);
    const task = parseTask(configBytes);
    const load = async (contextWindowSize: number): Promise<LlamaModel> => {
      tracker.enter("weights");
      const gguf = await openGguf(bundle, found);
      const isEmbedding = task === "embedding";
      return llama.load(gguf, { contextWindowSize, threads, isEmbedding });
    };
    const { model, contextWindowSize } =
      task === "chat"
        ? await loadTalker(bundle, browser, configBytes, llama, load)
        : await loadEncoder(bundle, browser, llama, load);

    tracker.enter("ready");
    const report: LoadReport = {
      model: bundle.name,
      task,
      engine: "cpu",
      adapter: null,
      computeDtype: null,
      schedule: null,
      pipelines: null,
      processor: { threads, reason },
      contextWindowSize,
      licenses: found.native.annotations.get(LICENSES) ?? null,
      gpuBytes: fit.gpuBytes,
      unloaded,
      ...kept,
      ...tracker.summary(),
    };
    return {
      model,
      report,
      dispose: () => {
        model.dispose();
      },
    };
  } catch (error) {
    llama.end();
    throw error;
  }
}

/** A static host may have the manifest, but not this one large file. */
async function openGguf(bundle: BundleReader, { gguf }: GgufBundle): Promise<VerifiedFile> {
  try {
    return await bundle.openFile(gguf);
  } catch (error) {
    const isMissing = error instanceof TransomError && error.code === "model-not-found";
    throw isMissing ? noGguf(bundle.name, error) : error;
  }
}

type Load = (contextWindowSize: number) => Promise<LlamaModel>;

async function loadTalker(
  bundle: BundleReader,
  browser: Manifest,
  configBytes: Uint8Array,
  llama: Llama,
  load: Load,
): Promise<Talker> {
  const tokenizer = await readTokenizer(bundle, browser);
  const { config, template, defaults } = await readTalk(bundle, browser, configBytes, tokenizer);
  const wanted = Math.min(
    config.contextWindowSize,
    defaults.parameters.contextWindowSize ?? Infinity,
  );
  const contextWindowSize = Number.isFinite(wanted) ? wanted : CONTEXT_WINDOW;
  const { vocabularySize } = await load(contextWindowSize);
  const engine = new Engine(new LlamaRuntime(llama, contextWindowSize, vocabularySize));
  return {
    model: new ChatModel(engine, tokenizer, template, config, defaults),
    contextWindowSize,
  };
}

async function loadEncoder(
  bundle: BundleReader,
  browser: Manifest,
  llama: Llama,
  load: Load,
): Promise<Talker> {
  const tokenizer = await readTokenizer(bundle, browser);
  const { batchSize, trainedContext } = await load(CONTEXT_WINDOW);
  // A text that is not read from left to right goes in all at once.
  const contextWindowSize = Math.min(batchSize, trainedContext);
  const runtime = new LlamaEncoder(llama, contextWindowSize);
  return { model: new EmbeddingModel(runtime, tokenizer), contextWindowSize };
}

async function readTokenizer(bundle: BundleReader, browser: Manifest): Promise<Tokenizer> {
  return new Tokenizer(await bundle.readFile(layerOf(browser, MEDIA_TYPES.tokenizer)));
}
