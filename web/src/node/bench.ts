#!/usr/bin/env node
/**
 * How fast the page's engine is on this machine's GPU, on Dawn (npm `webgpu`).
 *
 *   node bench.mjs --bundle DIR [--library FILE] [--prompts 128,1024] [--tokens 64]
 *                  [--sequences 1,4,8] [--host-tokens 64] [--pipelines ahead|lazy]
 *                  [--salt N] [--no-first-answer]
 *
 * `--library` names a program or a library of the bundle; without it the adapter decides, as in the
 * page. Prints one JSON object: the load, then what measure.ts measures; `--tokens 0`,
 * `--host-tokens 0` and `--prompts ""` leave a part out.
 * Which Vulkan driver runs is the caller's choice (VK_ICD_FILENAMES). Exits 2 with one line on user
 * errors, 3 where there is no graphics adapter.
 */
import { parseArgs } from "node:util";

import { TransomError } from "../errors.ts";
import type { LoadRequest } from "../protocol.ts";
import type { ChatModel } from "../worker/chat-model.ts";
import { loadModel, requireChat } from "../worker/load.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";
import { type MeasuredEngine, type Plan, countGpu, measure } from "./measure.ts";

const USAGE =
  "usage: bench.mjs --bundle DIR [--library FILE] [--prompts 128,1024] [--tokens N] " +
  "[--sequences 1,4,8] [--host-tokens N] [--pipelines ahead|lazy] [--salt N] [--no-first-answer]";

interface Arguments {
  bundle: string;
  overrides: LoadRequest["overrides"];
  plan: Plan;
}

async function readArguments(): Promise<Arguments> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      prompts: { type: "string", default: "128,1024" },
      tokens: { type: "string", default: "64" },
      sequences: { type: "string", default: "1,4,8" },
      "host-tokens": { type: "string", default: "64" },
      pipelines: { type: "string" },
      salt: { type: "string", default: "1" },
      "no-first-answer": { type: "boolean", default: false },
    },
  });
  const { bundle, library, pipelines } = values;
  if (bundle === undefined) {
    throw new TransomError("invalid-request", USAGE);
  }
  if (pipelines !== undefined && pipelines !== "ahead" && pipelines !== "lazy") {
    throw new TransomError("invalid-request", "--pipelines is ahead or lazy.");
  }
  const [tokens = 0] = readNumbers("--tokens", values.tokens, 0);
  const [salt = 1] = readNumbers("--salt", values.salt, 0);
  const [hostTokens = 0] = readNumbers("--host-tokens", values["host-tokens"], 0);
  return {
    bundle,
    overrides: {
      ...(library === undefined ? {} : await findLibrary(bundle, library)),
      ...(pipelines === undefined ? {} : { pipelines }),
    },
    plan: {
      salt,
      firstAnswer: !values["no-first-answer"],
      promptTokens: readNumbers("--prompts", values.prompts, 1),
      tokens,
      sequences: readNumbers("--sequences", values.sequences, 1),
      hostTokens,
    },
  };
}

function readNumbers(option: string, text: string, least: number): number[] {
  const numbers = text === "" ? [] : text.split(",").map(Number);
  if (!numbers.every((number) => Number.isSafeInteger(number) && number >= least)) {
    throw new TransomError("invalid-request", `${option} ${text}: ${least} or more is wanted.`);
  }
  return numbers;
}

function asMeasured(model: ChatModel): MeasuredEngine {
  return {
    complete: async (messages, maxTokens) => {
      const tokenTimes: number[] = [];
      const { promptTokens, cachedTokens } = await model.complete(
        {
          promptTokenIds: await model.encodeMessages(messages),
          sampling: { temperature: 0, topP: 1, seed: 0 },
          // A figure is of so many tokens, whatever the model says.
          stopTokenIds: [],
          maxTokens,
        },
        ({ tokenId }) => {
          if (tokenId !== null) {
            tokenTimes.push(performance.now());
          }
        },
      );
      return { promptTokens, cachedTokens, tokenTimes };
    },
  };
}

async function main(): Promise<void> {
  const { bundle, overrides, plan } = await readArguments();
  const gpu = openDawn();
  const counter = countGpu();
  const loaded = await loadModel(
    overrides,
    { gpu, openBundle: (meter) => new BundleFolder(bundle, meter) },
    () => undefined,
  );
  const figures = await measure(
    asMeasured(requireChat(loaded)),
    {
      read: () => Promise.resolve(counter.read()),
      pretend: () => {
        counter.pretend();
        return Promise.resolve();
      },
      readHeap: () => {
        const { heapUsed, external } = process.memoryUsage();
        return Promise.resolve(heapUsed + external);
      },
    },
    plan,
  );
  const { loadSeconds, ...load } = loaded.report;
  console.log(JSON.stringify({ engine: "transom", loadSeconds, ...figures, load }));
}

runCommand(main);
