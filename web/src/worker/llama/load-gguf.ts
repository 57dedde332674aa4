/**
 * From a bundle to a model on the processor: the same steps as `load.ts`, with llama.cpp for a GPU.
 *
 * Prompt, stop tokens and sampling are those of the browser platform of the same model, so that an
 * answer is the same wherever it is computed.
 */
import { TransomError } from "../../errors.ts";
import type { LoadProgress, LoadReport, LoadRequest, ProcessorReport } from "../../protocol.ts";
import type { BundleReader } from "../../store/bundle-reader.ts";
import { LICENSES, MEDIA_TYPES, type Manifest, layerOf } from "../../store/manifest.ts";
import type { VerifiedFile } from "../../store/verify.ts";
import { parseTask } from "../chat-config.ts";
import { ChatModel } from "../chat-model.ts";
import type { ChatTokenizer } from "../chat-tokenizer.ts";
import { EmbeddingModel } from "../embedding-model.ts";
import { Engine } from "../engine.ts";
import { readLicence } from "../licence.ts";
import { Tracker } from "../load-tracker.ts";
import type { LoadEnvironment, LoadedModel } from "../load.ts";
import { type ModelFacts, factsOf } from "../model-facts.ts";
import { requireFit } from "../survey.ts";
import { type Talk, readTalk } from "../talk.ts";
import { Tokenizer } from "../tokenizer.ts";
import { type GgufBundle, findGguf, fitOf, noGguf } from "./gguf-bundle.ts";
import { readGgufDefaults, readGgufTalk } from "./gguf-talk.ts";
import { GgufTokenizer } from "./gguf-tokenizer.ts";
import { LlamaEncoder } from "./llama-encoder.ts";
import { startLlama } from "./llama-process.ts";
import { LlamaRuntime } from "./llama-runtime.ts";
import { Llama, type LlamaModel } from "./llama.ts";
import { threadCount } from "./threads.ts";

/** Where nobody says how long a conversation may be: a KV cache is memory. */
const CONTEXT_WINDOW = 4096;

/** What is loaded, and how long a text it takes. */
interface Loaded extends Pick<LoadedModel, "model" | "tokenizer"> {
  facts: Omit<ModelFacts, "licence">;
  contextWindowSize: number;
}

/**
 * @param reason why not on the graphics adapter, for the report.
 * @throws TransomError naming what is missing or wrong; `no-variant` where there is no GGUF.
 */
export async function loadGguf(
  reason: Pick<ProcessorReport, "reason" | "code">,
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
    const load: Load = async (contextWindowSize, isEmbedding) => {
      tracker.enter("weights");
      const gguf = await openGguf(bundle, found);
      return llama.load(gguf, { contextWindowSize, threads, isEmbedding });
    };
    const { model, facts, tokenizer, contextWindowSize } =
      found.browser === null
        ? await loadAlone(bundle, found.native, llama, load)
        : await loadWithTexts(bundle, found.browser, llama, load);

    const licence = await readLicence(bundle, found.browser ?? found.native);
    tracker.enter("ready");
    const task = model instanceof ChatModel ? "chat" : "embedding";
    const report: LoadReport = {
      model: bundle.name,
      task,
      engine: "cpu",
      adapter: null,
      computeDtype: null,
      schedule: null,
      pipelines: null,
      processor: { threads, ...reason },
      contextWindowSize,
      licenses: found.native.annotations.get(LICENSES) ?? null,
      gpuBytes: fit.gpuBytes,
      unloaded,
      ...kept,
      ...tracker.summary(),
    };
    return {
      model,
      facts: { ...facts, licence },
      tokenizer,
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

type Load = (contextWindowSize: number, isEmbedding: boolean) => Promise<LlamaModel>;

/** A GGUF with the texts of a browser platform: the page says the same to it on any engine. */
async function loadWithTexts(
  bundle: BundleReader,
  browser: Manifest,
  llama: Llama,
  load: Load,
): Promise<Loaded> {
  const configBytes = await bundle.readFile(browser.config);
  const tokenizer = new Tokenizer(await bundle.readFile(layerOf(browser, MEDIA_TYPES.tokenizer)));
  if (parseTask(configBytes) === "embedding") {
    const { batchSize, trainedContext } = await load(CONTEXT_WINDOW, true);
    // A text that is not read from left to right goes in all at once.
    const contextWindowSize = Math.min(batchSize, trainedContext);
    const runtime = new LlamaEncoder(llama, contextWindowSize);
    const model = new EmbeddingModel(runtime, tokenizer);
    return { model, facts: factsOf(tokenizer, null, null), tokenizer, contextWindowSize };
  }
  const talk = await readTalk(bundle, browser, configBytes, tokenizer);
  const contextWindowSize = contextWindowOf(talk);
  const { vocabularySize } = await load(contextWindowSize, false);
  const runtime = new LlamaRuntime(llama, contextWindowSize, vocabularySize);
  return { ...talking(runtime, tokenizer, talk), contextWindowSize };
}

/** A GGUF on its own, as a file picker brings it: llama.cpp knows its tokens and its template. */
async function loadAlone(
  bundle: BundleReader,
  native: Manifest,
  llama: Llama,
  load: Load,
): Promise<Loaded> {
  const defaults = await readGgufDefaults(bundle, native);
  const wanted = defaults.parameters.contextWindowSize ?? CONTEXT_WINDOW;
  const loaded = await load(wanted, false);
  const architecture = loaded.metadata.get("general.architecture") ?? "";
  if ((loaded.metadata.get(`${architecture}.pooling_type`) ?? "0") !== "0") {
    throw new TransomError(
      "no-variant",
      `${bundle.name} turns texts into vectors; for that a page needs it compiled ` +
        '("transom compile").',
    );
  }
  const tokenizer = await GgufTokenizer.open(llama, loaded);
  const talk = await readGgufTalk(bundle, native, defaults, loaded, tokenizer);
  const contextWindowSize = Math.min(wanted, loaded.trainedContext);
  const runtime = new LlamaRuntime(llama, contextWindowSize, loaded.vocabularySize);
  return { ...talking(runtime, tokenizer, talk), contextWindowSize };
}

function talking(
  runtime: LlamaRuntime,
  tokenizer: ChatTokenizer,
  talk: Talk,
): Omit<Loaded, "contextWindowSize"> {
  const engine = new Engine(runtime);
  const model = new ChatModel(engine, tokenizer, talk.template, talk.config, talk.defaults);
  return { model, facts: factsOf(tokenizer, talk, engine), tokenizer };
}

/** Tokens that model and publisher want a conversation to have. */
function contextWindowOf({ config, defaults }: Talk): number {
  const wanted = Math.min(
    config.contextWindowSize,
    defaults.parameters.contextWindowSize ?? Infinity,
  );
  return Number.isFinite(wanted) ? wanted : CONTEXT_WINDOW;
}
