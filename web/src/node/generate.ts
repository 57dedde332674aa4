/**
 * The page's engine from the command line, on Dawn (npm `webgpu`): for tests and comparisons.
 *
 *   node generate.mjs --bundle DIR --library program-f32.json [--prompts FILE] [--max-tokens 64]
 *                     [--chats FILE] [--score FILE] [--logits-out FILE] [--pipelines ahead|lazy]
 *                     [--verbose]
 *
 * `--prompts` is a JSON list; each prompt is a list of token ids, or a list of messages. `--chats`
 * is a JSON list of what the page may ask (`ChatRequest` in protocol.ts). `--score` is a JSON list of
 * passages to read token by token (score.ts). Prints one JSON object per line: first the load, then
 * one per prompt, decoded greedily, then one per chat, then one per passage. `--logits-out` gets,
 * in this order, the first step's logits of each prompt and those of each judged position of each
 * passage, float32 little-endian, one after another. Which Vulkan driver runs is the caller's choice
 * (VK_ICD_FILENAMES). Exits 2 with one line on user errors, 3 where there is no graphics adapter.
 */
import { openSync, writeSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { TransomError } from "../errors.ts";
import type {
  ChatRequest,
  GenerateRequest,
  LoadRequest,
  Message,
  PipelineLoading,
} from "../protocol.ts";
import type { ChatModel } from "../worker/chat-model.ts";
import { loadModel, requireChat } from "../worker/load.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";
import { parsePassages, scorePassage } from "./score.ts";

type Prompt = number[] | Message[];

const USAGE =
  "usage: generate.mjs --bundle DIR --library FILE [--prompts FILE] [--max-tokens N] " +
  "[--chats FILE] [--score FILE] [--logits-out FILE] [--pipelines ahead|lazy] [--verbose]";

/** Enough to see what a model says. */
const DEFAULT_MAX_TOKENS = 64;

interface Arguments {
  bundle: string;
  library: string;
  prompts: string | undefined;
  chats: string | undefined;
  score: string | undefined;
  maxTokens: number;
  logitsOut: string | undefined;
  pipelines: PipelineLoading;
  verbose: boolean;
}

function readArguments(): Arguments {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      prompts: { type: "string" },
      chats: { type: "string" },
      "max-tokens": { type: "string", default: String(DEFAULT_MAX_TOKENS) },
      score: { type: "string" },
      "logits-out": { type: "string" },
      pipelines: { type: "string", default: "lazy" },
      verbose: { type: "boolean", default: false },
    },
  });
  const { bundle, library, prompts, chats, score, pipelines, verbose } = values;
  const maxTokens = Number(values["max-tokens"]);
  if (bundle === undefined || library === undefined) {
    throw new TransomError("invalid-request", USAGE);
  }
  if (pipelines !== "ahead" && pipelines !== "lazy") {
    throw new TransomError("invalid-request", "--pipelines is ahead or lazy.");
  }
  const logitsOut = values["logits-out"];
  return { bundle, library, prompts, chats, score, maxTokens, logitsOut, pipelines, verbose };
}

/** An option that was not given is an empty list. */
async function readList(path: string | undefined): Promise<unknown> {
  return path === undefined ? [] : (JSON.parse(await readFile(path, "utf8")) as unknown);
}

async function readPrompts(path: string | undefined): Promise<Prompt[]> {
  const prompts = await readList(path);
  const isPrompt = (prompt: unknown): prompt is Prompt =>
    Array.isArray(prompt) &&
    (prompt.every((item) => Number.isSafeInteger(item)) ||
      prompt.every((item) => typeof item === "object" && item !== null && "content" in item));
  if (!Array.isArray(prompts) || !prompts.every(isPrompt)) {
    throw new TransomError(
      "invalid-request",
      `${path ?? ""} must be a list of prompts: lists of token ids, or lists of messages.`,
    );
  }
  return prompts;
}

async function readChats(path: string | undefined): Promise<ChatRequest[]> {
  const chats = await readList(path);
  const isChat = (chat: unknown): chat is ChatRequest =>
    typeof chat === "object" && chat !== null && "messages" in chat && "options" in chat;
  if (!Array.isArray(chats) || !chats.every(isChat)) {
    throw new TransomError(
      "invalid-request",
      `${path ?? ""} must be a list of requests, each with messages and options.`,
    );
  }
  return chats;
}

function isTokenIds(prompt: Prompt): prompt is number[] {
  return typeof prompt[0] === "number";
}

async function answer(
  model: ChatModel,
  prompt: Prompt,
  maxTokens: number,
  wantFirstLogits: boolean,
): Promise<{ line: object; logits: Float32Array | null }> {
  const request: GenerateRequest = {
    promptTokenIds: isTokenIds(prompt) ? prompt : await model.encodeMessages(prompt),
    sampling: { temperature: 0, topP: 1, seed: 0 },
    stopTokenIds: model.stopTokenIds,
    maxTokens,
    wantFirstLogits,
  };
  const tokenIds: number[] = [];
  let text = "";
  let logits: Float32Array | null = null;
  const done = await model.complete(request, (event) => {
    text += event.text;
    logits = event.logits ?? logits;
    if (event.tokenId !== null) {
      tokenIds.push(event.tokenId);
    }
  });
  const line = { promptTokenIds: request.promptTokenIds, tokenIds, text, ...done };
  return { line, logits };
}

async function main(): Promise<void> {
  const options = readArguments();
  const prompts = await readPrompts(options.prompts);
  const chats = await readChats(options.chats);
  const passages = parsePassages(options.score ?? "", await readList(options.score));
  const overrides: LoadRequest["overrides"] = {
    ...(await findLibrary(options.bundle, options.library)),
    pipelines: options.pipelines,
  };
  const loaded = await loadModel(
    overrides,
    {
      gpu: openDawn(),
      openBundle: (meter) => new BundleFolder(options.bundle, meter),
    },
    ({ phase, file, pipelineFraction }) => {
      if (options.verbose) {
        console.error(phase, file ?? "", pipelineFraction.toFixed(2));
      }
    },
  );
  const model = requireChat(loaded);
  console.log(JSON.stringify(loaded.report));

  const logitsFile = options.logitsOut === undefined ? null : openSync(options.logitsOut, "w");
  const keep = (logits: Float32Array | null) => {
    if (logitsFile !== null && logits !== null) {
      writeSync(logitsFile, new Uint8Array(logits.buffer, logits.byteOffset, logits.byteLength));
    }
  };
  for (const prompt of prompts) {
    const { line, logits } = await answer(model, prompt, options.maxTokens, logitsFile !== null);
    console.log(JSON.stringify(line));
    keep(logits);
  }
  for (const chat of chats) {
    let text = "";
    const done = await model.chat(chat, (event) => {
      text += event.text;
    });
    console.log(JSON.stringify({ text, ...done }));
  }
  for (const passage of passages) {
    console.log(JSON.stringify(await scorePassage(model, passage, keep)));
  }
}

runCommand(main);
