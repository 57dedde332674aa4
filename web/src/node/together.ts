/**
 * Several requests at once to the page's engine, on Dawn (npm `webgpu`): for tests.
 *
 *   node together.mjs --bundle DIR --library FILE --scenes FILE
 *                     [--without shader-f16,subgroups] [--least-limits]
 *
 * A scene is a list of requests that share the engine (`Ask`); one may begin once another has said so
 * many tokens, and may be aborted after so many of its own. Scenes run one after another on one loaded
 * model. Prints one JSON object per line: first the load, then one per scene: what each request got, who
 * said each token, in order, and what the GPU was asked. `--without` and `--least-limits` make the
 * adapter a lesser one. Exits as generate.mjs does.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { TransomError, describe } from "../errors.ts";
import type { GenerateRequest, Message, TokenLogprobs } from "../protocol.ts";
import type { ChatModel } from "../worker/chat-model.ts";
import { loadModel, requireChat } from "../worker/load.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";
import { type GpuCounts, countGpu } from "./gpu-counters.ts";
import { lesserGpu } from "./lesser-gpu.ts";

const USAGE =
  "usage: together.mjs --bundle DIR --library FILE --scenes FILE " +
  "[--without shader-f16,subgroups] [--least-limits]";

/** What a request may say of itself; the rest is greedy, with the model's own stop tokens. */
type Ask = Partial<GenerateRequest> & {
  messages?: Message[];
  /** Wait until the request of this number in the scene has said so many tokens. */
  after?: { ask: number; tokens: number };
  abortAfter?: number;
};

interface Said {
  tokenIds: number[];
  text: string;
  logprobs: TokenLogprobs[];
}

/** Lets requests wait for what others say. */
class Stage {
  /** Who said each token. */
  readonly order: number[] = [];
  readonly #waiting: { ask: number; tokens: number; go: () => void }[] = [];

  said(ask: number): void {
    this.order.push(ask);
    for (const one of this.#waiting) {
      if (this.#count(one.ask) >= one.tokens) {
        one.go();
      }
    }
  }

  until({ ask, tokens }: { ask: number; tokens: number }): Promise<void> {
    return new Promise((go) => {
      this.#waiting.push({ ask, tokens, go });
    });
  }

  #count(ask: number): number {
    return this.order.filter((who) => who === ask).length;
  }
}

async function answer(model: ChatModel, ask: Ask, number: number, stage: Stage): Promise<object> {
  const { messages, after, abortAfter, ...request } = ask;
  if (after !== undefined) {
    await stage.until(after);
  }
  const said: Said = { tokenIds: [], text: "", logprobs: [] };
  const aborter = new AbortController();
  try {
    const done = await model.complete(
      {
        promptTokenIds: messages === undefined ? [] : await model.encodeMessages(messages),
        sampling: { temperature: 0, topP: 1, seed: 0 },
        stopTokenIds: model.stopTokenIds,
        maxTokens: 16,
        ...request,
      },
      ({ tokenId, text, logprobs }) => {
        said.text += text;
        if (logprobs !== undefined) {
          said.logprobs.push(logprobs);
        }
        if (tokenId !== null) {
          said.tokenIds.push(tokenId);
          stage.said(number);
        }
        if (said.tokenIds.length === abortAfter) {
          aborter.abort();
        }
      },
      aborter.signal,
    );
    return { ...said, ...done };
  } catch (error) {
    return { ...said, error: error instanceof TransomError ? error.code : describe(error) };
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      scenes: { type: "string" },
      without: { type: "string", default: "" },
      "least-limits": { type: "boolean", default: false },
    },
  });
  const { bundle, library, scenes } = values;
  if (bundle === undefined || library === undefined || scenes === undefined) {
    throw new TransomError("invalid-request", USAGE);
  }
  const gpu = lesserGpu(openDawn(), {
    without: values.without.split(","),
    hasLeastLimits: values["least-limits"],
  });
  const counter = countGpu();
  const loaded = await loadModel(
    { ...(await findLibrary(bundle, library)), pipelines: "lazy" },
    { gpu, openBundle: (meter) => new BundleFolder(bundle, meter) },
    () => undefined,
  );
  console.log(JSON.stringify(loaded.report));
  const model = requireChat(loaded);
  for (const scene of JSON.parse(await readFile(scenes, "utf8")) as Ask[][]) {
    const stage = new Stage();
    const before = counter.read();
    const answers = await Promise.all(
      scene.map((ask, number) => answer(model, ask, number, stage)),
    );
    const counts = since(before, counter.read());
    console.log(JSON.stringify({ answers, order: stage.order, counts }));
  }
}

function since(
  before: GpuCounts,
  now: GpuCounts,
): Pick<GpuCounts, "dispatches" | "readBacks" | "subgroupShaders"> {
  return {
    dispatches: now.dispatches - before.dispatches,
    readBacks: now.readBacks - before.readBacks,
    subgroupShaders: now.subgroupShaders - before.subgroupShaders,
  };
}

runCommand(main);
