import { describe, expect, it } from "vitest";

import type { CompleteEvent, CompleteRequest } from "../../web/src/api-protocol.ts";
import type { BundleReader } from "../../web/src/store/bundle-reader.ts";
import {
  MEDIA_TYPES,
  type Manifest,
  parseIndex,
  parseManifest,
} from "../../web/src/store/manifest.ts";
import type { VerifiedBytes } from "../../web/src/store/verify.ts";
import { ChatModel } from "../../web/src/worker/chat-model.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import { MOST_GGUF_BYTES, findGguf, fitOf } from "../../web/src/worker/llama/gguf-bundle.ts";
import { readGgufDefaults, readGgufTalk } from "../../web/src/worker/llama/gguf-talk.ts";
import { GgufTokenizer } from "../../web/src/worker/llama/gguf-tokenizer.ts";
import { LlamaRuntime } from "../../web/src/worker/llama/llama-runtime.ts";
import { Llama } from "../../web/src/worker/llama/llama.ts";
import { bytesOf, describeFile, indexJson, manifestJson, patternBytes } from "./bundle-fixture.ts";
import { FakeLlama } from "./fake-llama.ts";

const GGUF = patternBytes(64);
const TEMPLATE = "{{ messages[0].content }}{% if add_generation_prompt %}:{% endif %}";

const REQUEST: CompleteRequest = {
  model: "tiny",
  prompt: "",
  sampling: {
    temperature: 0,
    topK: 40,
    topP: 0.9,
    minP: 0,
    typicalP: 1,
    repeatLastN: 64,
    repeatPenalty: 1,
    presencePenalty: 0,
    frequencyPenalty: 0,
    seed: -1,
  },
  maxTokens: -1,
  stop: [],
  jsonSchema: null,
  grammar: null,
  stopTokenIds: [],
  ignoreEos: false,
  logitBias: [],
  choices: 1,
  logprobs: null,
  preserved: [],
};

type Layers = Record<string, string>;

async function nativeJson(layers: Layers = {}) {
  const others = Object.entries(layers).map(([type, text]) =>
    describeFile(type, type, bytesOf(text)),
  );
  const named = (await Promise.all(others)).map((row, index) => ({
    ...row,
    annotations: { "org.opencontainers.image.title": `layer_${String(index)}` },
  }));
  return {
    schemaVersion: 2 as const,
    mediaType: MEDIA_TYPES.manifest,
    config: await describeFile("native.json", MEDIA_TYPES.nativeConfig, bytesOf({})),
    layers: [await describeFile("model.gguf", MEDIA_TYPES.gguf, GGUF), ...named],
  };
}

/** A bundle that is all there, by media type. */
class HonestBundle {
  readonly name = "tiny";
  readonly #native: Manifest;
  readonly #texts: Layers;
  readonly #hasBrowser: boolean;

  constructor(native: Manifest, texts: Layers, hasBrowser: boolean) {
    this.#native = native;
    this.#texts = texts;
    this.#hasBrowser = hasBrowser;
  }

  async readIndex() {
    const index = await indexJson();
    const isThere = ({ platform }: { platform?: { os: string } }) =>
      this.#hasBrowser || platform?.os === "native";
    return parseIndex(bytesOf({ ...index, manifests: index.manifests.filter(isThere) }));
  }

  async readManifest({ platform }: { platform: { os: string } | null }) {
    return platform?.os === "native" ? this.#native : parseManifest(bytesOf(await manifestJson()));
  }

  readFile({ mediaType }: { mediaType: string }) {
    return Promise.resolve(bytesOf(this.#texts[mediaType] ?? "") as VerifiedBytes);
  }

  measure() {
    return Promise.resolve({ storedBytes: 0, missingBytes: 1, freeBytes: 2, evictableBytes: 0 });
  }
}

async function bundleOf(layers: Layers = {}, hasBrowser = false, bend = (_: Manifest) => _) {
  const native = bend(parseManifest(bytesOf(await nativeJson(layers))));
  const bundle = new HonestBundle(native, layers, hasBrowser) as unknown as BundleReader;
  return { bundle, native };
}

describe("findGguf", () => {
  it("takes the GGUF, and of a browser platform only texts", async () => {
    const { bundle } = await bundleOf({}, true);
    const { files, others, gguf } = await findGguf(bundle);
    expect(gguf.title).toBe("model.gguf");
    expect(files.map(({ title }) => title)).toEqual(["mlc-chat-config.json", "model.gguf"]);
    expect(others.map(({ title }) => title)).toContain("params_shard_0.bin");
  });

  it("takes what lies beside a GGUF on its own", async () => {
    const { bundle } = await bundleOf({ [MEDIA_TYPES.system]: "Be brief." });
    const { files, browser } = await findGguf(bundle);
    expect(browser).toBeNull();
    expect(files.map(({ mediaType }) => mediaType)).toEqual([MEDIA_TYPES.system, MEDIA_TYPES.gguf]);
  });

  it("refuses a model whose adapter it would leave out", async () => {
    const { bundle } = await bundleOf({ [MEDIA_TYPES.adapter]: "LoRA" });
    await expect(findGguf(bundle)).rejects.toThrow("a LoRA adapter beside its GGUF");
  });

  it("says that there is none", async () => {
    const { bundle } = await bundleOf({}, false, (native) => ({ ...native, layers: [] }));
    await expect(findGguf(bundle)).rejects.toMatchObject({
      code: "no-variant",
      message: expect.stringContaining("no GGUF of tiny here") as string,
    });
  });

  it("says that a file is too large, by name", async () => {
    const { bundle } = await bundleOf({}, false, (native) => ({
      ...native,
      layers: native.layers.map((layer) => ({ ...layer, size: MOST_GGUF_BYTES + 1 })),
    }));
    const { problems } = await fitOf(bundle, await findGguf(bundle));
    expect(problems).toMatchObject([{ refusal: "always", code: "out-of-memory" }]);
    expect(problems[0]?.message).toMatch(/^tiny has 2\.1 GB/);
  });
});

describe("a GGUF on its own", () => {
  async function start(
    metadata: Record<string, string>,
    layers: Layers = {},
    names: readonly (readonly [number, string])[] = [],
  ) {
    const process = new FakeLlama();
    process.metadata = metadata;
    for (const [id, name] of names) {
      process.names.set(id, name);
    }
    const llama = new Llama(process);
    const options = { contextWindowSize: 64, threads: 1, isEmbedding: false };
    const model = await llama.load(new Blob([GGUF]), options);
    const tokenizer = await GgufTokenizer.open(llama, model);
    const { bundle, native } = await bundleOf(layers);
    const defaults = await readGgufDefaults(bundle, native);
    const talk = await readGgufTalk(bundle, native, defaults, model, tokenizer);
    const engine = new Engine(new LlamaRuntime(llama, 64, model.vocabularySize));
    const chat = new ChatModel(engine, tokenizer, talk.template, talk.config, talk.defaults);
    return { process, tokenizer, talk, chat };
  }
  const user = (content: string) => [{ role: "user" as const, content }];

  it("completes as the API asks; parallel requests wait in line", async () => {
    const names = [
      [2, "<end>"],
      [60, "<call>"],
    ] as const;
    const { chat, tokenizer } = await start({}, {}, names);
    expect([...tokenizer.table.specials.keys()].sort((one, other) => one - other)).toEqual([
      1, 2, 3, 60,
    ]);
    expect(await tokenizer.encodeAs("<call>", true, true)).toEqual([1, 60]);
    expect(await tokenizer.encodeAs("<call>", false, false)).toHaveLength(6);
    const ask = async (prompt: string, more: Partial<CompleteRequest>) => {
      const texts: [string, string] = ["", ""];
      const events: CompleteEvent[] = [];
      const request = { ...REQUEST, prompt, maxTokens: 4, ...more };
      await chat.completeText({ request }, (event) => {
        events.push(event);
        if (event.kind === "token") {
          texts[event.choice === 0 ? 0 : 1] += event.text;
        }
      });
      return { texts, events };
    };
    const [two, shown, likely] = await Promise.all([
      ask("9", { choices: 2 }),
      ask("9", { preserved: ["<call>"], stop: [">"] }),
      ask("b", { logprobs: 1, maxTokens: 1 }),
    ]);
    expect(two.texts).toEqual([":;=", ":;="]);
    expect(shown.texts[0]).toBe(":;<call");
    expect(shown.events.at(-1)).toMatchObject({ kind: "done", finishReason: "stop", stop: ">" });
    expect(likely.events[0]).toMatchObject({
      text: "c",
      logprobs: [
        { chosen: { id: 99, text: "c", logprob: expect.closeTo(Math.log(0.75)) as number } },
      ],
    });
  });

  it("is talked to by its own template and tokens, and ends where they do", async () => {
    const { chat, process, talk } = await start({ "tokenizer.chat_template": TEMPLATE });
    let text = "";
    const options = { temperature: 0, maxTokens: 3 };
    const done = await chat.chat({ messages: user("a"), options }, (event) => {
      text += event.text;
    });
    // llama.cpp puts its first token before a prompt; ":" is followed by ";", "<" and "=".
    expect(process.tokenIds.slice(0, 3)).toEqual([1, 97, 58]);
    expect([text, done.promptTokens]).toEqual([";<=", 3]);
    expect(talk.config.stopTokenIds).toEqual([2, 3]);
  });

  it("has no template where the file has none", async () => {
    const { talk, chat } = await start({});
    expect(talk.template).toBeNull();
    expect(await chat.encodeMessages(user("ab"))).toEqual([1, 97, 98]);
  });

  it("obeys a Modelfile's Jinja, and not what Ollama has in Go's language", async () => {
    const metadata = { "tokenizer.chat_template": TEMPLATE };
    const jinja = await start(metadata, { [MEDIA_TYPES.template]: "<{{ messages[0].content }}>" });
    expect(await jinja.chat.encodeMessages(user("a"))).toEqual([1, 60, 97, 62]);
    const go = await start(metadata, { [MEDIA_TYPES.template]: "{{ .Prompt }}" });
    expect(await go.chat.encodeMessages(user("a"))).toEqual([1, 97, 58]);
  });

  it("takes away the space that SentencePiece puts before a text", async () => {
    const { tokenizer } = await start({ "tokenizer.ggml.model": "llama" });
    const decoder = tokenizer.startDecoding();
    expect([32, 65, 32, 66].map((id) => decoder.push(id)).join("")).toBe("A B");
    expect(() => decoder.push(999)).toThrow("no token with id 999");
  });
});
