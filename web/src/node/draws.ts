/**
 * What the samplers of a program choose from real logits, beside the same choice on the CPU: for tests.
 *
 *   node draws.mjs --bundle DIR --library program-f32.json --draws FILE --logits-out FILE
 *
 * `--draws` is a JSON object: `promptTokenIds`, `settings` (each a `Sampling` without its seed, and
 * the tokens it may choose from, `allowed`, if not all), `seeds` (how many of them are tried, from 0) and
 * `steps` (how many seeds are tried with all settings at once, a row for each). Prints a JSON object
 * per setting: `gpu`, the token for each seed, and `cpu`, that of the first ones; `rows`, the same two of the steps;
 * `logprobs` of seed 0. `--logits-out` gets the logits, float32 little-endian. Exits as
 * generate.mjs does.
 */
import { readFile, writeFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import { TransomError } from "../errors.ts";
import type { Sampling } from "../protocol.ts";
import { openGpu } from "../support.ts";
import { ProgramModel } from "../worker/program/program-model.ts";
import type { BatchRuntime, RowChoice } from "../worker/runtime.ts";
import { Sampler } from "../worker/sampler.ts";
import { survey } from "../worker/survey.ts";
import { ByteMeter } from "../store/progress.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";

const USAGE = "usage: draws.mjs --bundle DIR --library FILE --draws FILE --logits-out FILE";
const TOP_LOGPROBS = 20;
/** Seeds that are drawn on the CPU as well, which takes longer over them. */
const SEEDS_ON_CPU = 24;

interface Draws {
  promptTokenIds: number[];
  settings: (Omit<Sampling, "seed"> & { allowed?: number[] })[];
  seeds: number;
  steps: number;
}

interface Pair {
  gpu: number[];
  cpu: number[];
}

async function openProgram(folder: string, library: string): Promise<BatchRuntime> {
  const overrides = await findLibrary(folder, library);
  const { device, adapter } = await openGpu(openDawn());
  const bundle = new BundleFolder(folder, new ByteMeter(() => 0));
  const { maxBufferSize, maxStorageBufferBindingSize } = device.limits;
  const machine = { adapter, deviceMemory: null, maxBufferSize, maxStorageBufferBindingSize };
  const found = await survey(bundle, machine, overrides, undefined);
  if (found.program === null) {
    throw new TransomError("invalid-request", `${library} is no program.`);
  }
  const program = new ProgramModel(found.program, device);
  for (const shard of found.shards) {
    await program.upload(shard, await bundle.readFile(shard.file));
  }
  return program.start(program.metadata.contextWindowSize);
}

/** How one seed of a setting is drawn, on both sides. */
class Setting {
  readonly #sampling: Omit<Sampling, "seed">;
  readonly #mask: Int32Array | null;

  constructor({ allowed, ...sampling }: Draws["settings"][number], vocabulary: number) {
    this.#sampling = sampling;
    this.#mask = allowed === undefined ? null : new Int32Array(Math.ceil(vocabulary / 32));
    for (const id of allowed ?? []) {
      this.#mask?.fill((this.#mask[id >> 5] ?? 0) | (1 << (id & 31)), id >> 5, (id >> 5) + 1);
    }
  }

  choice(seed: number, topLogprobs: number | null = null): RowChoice {
    const nextMask = this.#mask === null ? null : () => this.#mask;
    return { sampling: { ...this.#sampling, seed }, nextMask, topLogprobs };
  }

  onCpu(seed: number, logits: Float32Array, history: readonly number[]): number {
    const sampler = new Sampler({ ...this.#sampling, seed });
    return sampler.sample(logits, history, history.length, this.#mask);
  }
}

/** All settings in one step, each in a slot of its own, as if the last token were theirs. */
async function drawInRows(
  runtime: BatchRuntime,
  prompt: readonly number[],
  settings: readonly Setting[],
  seed: number,
): Promise<Pair> {
  const tokenId = prompt.at(-1) ?? 0;
  const position = prompt.length - 1;
  const rows = settings.map((setting, slot) => ({
    ...{ slot, position, tokenId },
    choice: setting.choice(seed),
  }));
  const [chosen = []] = await runtime.step(rows, 1);
  const cpu: number[] = [];
  for (const [row, setting] of settings.entries()) {
    cpu.push(setting.onCpu(seed, await runtime.readLogits(row), prompt));
  }
  return { gpu: chosen.map(({ tokenId: id }) => id), cpu };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      draws: { type: "string" },
      "logits-out": { type: "string" },
    },
  });
  const { bundle, library, draws: path, "logits-out": logitsOut } = values;
  if (!bundle || !library || !path || !logitsOut) {
    throw new TransomError("invalid-request", USAGE);
  }
  const draws = JSON.parse(await readFile(path, "utf8")) as Draws;
  const prompt = draws.promptTokenIds;
  const runtime = await openProgram(bundle, library);
  const { pageSize, vocabularySize, maxRows } = runtime.limits;
  const settings = draws.settings.map((row) => new Setting(row, vocabularySize));

  const pages = Array.from({ length: Math.ceil(prompt.length / pageSize) + 1 }, (_, page) => page);
  for (let slot = 0; slot < maxRows; slot++) {
    // They write the same keys and values of the same token where the others do.
    runtime.setPages(slot, 0, pages);
    runtime.setTokens(slot, 0, prompt);
  }
  const last = prompt.length - 1;
  runtime.prefill(0, 0, prompt);
  const logits = await runtime.readLogits(0);
  await writeFile(logitsOut, new Uint8Array(logits.buffer));

  const lines = [];
  for (const setting of settings) {
    const seeds = Array.from({ length: draws.seeds }, (_, seed) => seed);
    const chosen = await Promise.all(
      seeds.map((seed) => runtime.chooseNext(0, last, setting.choice(seed))),
    );
    const ranked = await runtime.chooseNext(0, last, setting.choice(0, TOP_LOGPROBS));
    lines.push({
      gpu: chosen.map(({ tokenId }) => tokenId),
      cpu: seeds.slice(0, SEEDS_ON_CPU).map((seed) => setting.onCpu(seed, logits, prompt)),
      ranked,
      rows: { gpu: [] as number[], cpu: [] as number[] },
    });
  }
  for (let first = 0; first < settings.length; first += maxRows) {
    for (let seed = 0; seed < draws.steps; seed++) {
      const some = settings.slice(first, first + maxRows);
      const { gpu, cpu } = await drawInRows(runtime, prompt, some, seed);
      for (const [row, line] of lines.slice(first, first + maxRows).entries()) {
        line.rows.gpu.push(gpu[row] ?? -1);
        line.rows.cpu.push(cpu[row] ?? -1);
      }
    }
  }
  for (const line of lines) {
    console.log(JSON.stringify(line));
  }
}

runCommand(main);
