/**
 * The page's embeddings from the command line, on Dawn (npm `webgpu`): for tests and comparisons.
 *
 *   node embed.mjs --bundle DIR --library library-f32.wasm --texts texts.json [--raw]
 *
 * `texts.json` is a list of texts. Prints one JSON object per line: first the load, then one per
 * text (`tokens`, `vector`). Vectors have length 1, or the model's own with `--raw`. Which Vulkan
 * driver runs is the caller's choice (VK_ICD_FILENAMES). Exits 2 with one line on user errors, 3
 * where there is no graphics adapter.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { TransomError } from "../errors.ts";
import { loadModel, requireEmbedding } from "../worker/load.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";

const USAGE = "usage: embed.mjs --bundle DIR --library FILE --texts FILE [--raw]";

async function readTexts(path: string): Promise<string[]> {
  const texts: unknown = JSON.parse(await readFile(path, "utf8"));
  if (!Array.isArray(texts) || !texts.every((text) => typeof text === "string")) {
    throw new TransomError("invalid-request", `${path} must be a list of texts.`);
  }
  return texts;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      texts: { type: "string" },
      raw: { type: "boolean", default: false },
    },
  });
  const { bundle, library } = values;
  if (bundle === undefined || library === undefined || values.texts === undefined) {
    throw new TransomError("invalid-request", USAGE);
  }
  const texts = await readTexts(values.texts);
  const loaded = await loadModel(
    { ...(await findLibrary(bundle, library)), pipelines: "lazy" },
    { gpu: openDawn(), openBundle: (meter) => new BundleFolder(bundle, meter) },
    () => undefined,
  );
  const model = requireEmbedding(loaded);
  console.log(JSON.stringify(loaded.report));
  const { vectors, tokenCounts } = await model.embed({ texts, normalize: !values.raw });
  vectors.forEach((vector, index) => {
    console.log(JSON.stringify({ tokens: tokenCounts[index], vector: [...vector] }));
  });
}

runCommand(main);
