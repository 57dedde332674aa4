/** Chat template, chat configuration, tokenizer: messages to ids on a small byte-level BPE. */
import { describe, expect, it } from "vitest";

import { parseChatConfig } from "../../web/src/worker/chat-config.ts";
import type { ChatRequest, Done, GenerateRequest } from "../../web/src/protocol.ts";
import { ChatModel } from "../../web/src/worker/chat-model.ts";
import { ChatTemplate } from "../../web/src/worker/chat-template.ts";
import { Engine } from "../../web/src/worker/engine.ts";
import type { TokenEngine } from "../../web/src/worker/token-engine.ts";
import { Tokenizer } from "../../web/src/worker/tokenizer.ts";
import { bytesOf } from "./bundle-fixture.ts";
import { FakeRuntime } from "./fake-runtime.ts";

/** The shape of SmolLM2's template: ChatML with a system message of its own. */
const CHATML =
  "{% for message in messages %}" +
  "{% if loop.first and messages[0]['role'] != 'system' %}" +
  "{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}" +
  "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}" +
  "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

describe("ChatTemplate", () => {
  it("renders a conversation up to where the answer begins", () => {
    const template = new ChatTemplate(CHATML, { bos: "", eos: "" });
    expect(template.render([{ role: "user", content: "Hi <b>{{ x }}</b>" }])).toBe(
      "<|im_start|>system\nYou help.<|im_end|>\n" +
        "<|im_start|>user\nHi <b>{{ x }}</b><|im_end|>\n<|im_start|>assistant\n",
    );
  });

  it("knows the model's own tokens", () => {
    const template = new ChatTemplate("{{ bos_token }}{{ messages[0].content }}{{ eos_token }}", {
      bos: "<s>",
      eos: "</s>",
    });
    expect(template.render([{ role: "user", content: "a" }])).toBe("<s>a</s>");
  });

  it("hands on a template's refusal", () => {
    const template = new ChatTemplate("{{ raise_exception('roles must alternate') }}", {
      bos: "",
      eos: "",
    });
    expect(() => template.render([])).toThrow(/refused the conversation: roles must alternate/);
  });

  it("gives templates nothing to reach out with", () => {
    const escape = "{{ messages.constructor.constructor('return globalThis')() }}";
    const template = new ChatTemplate(escape, { bos: "", eos: "" });
    expect(() => template.render([{ role: "user", content: "a" }])).toThrow(/refused/);
  });

  it("says when a template is broken or far too long", () => {
    const tokens = { bos: "", eos: "" };
    expect(() => new ChatTemplate("{% for %}", tokens)).toThrow(/chat template is broken/);
    expect(() => new ChatTemplate(" ".repeat(256 * 1024 + 1), tokens)).toThrow(/longer than/);
  });
});

describe("ChatModel", () => {
  const tokenizer = new Tokenizer(
    bytesOf({
      ...smallTokenizer(),
      post_processor: {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: "<|im_start|>", type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
        ],
        pair: [],
        special_tokens: {
          "<|im_start|>": { id: "<|im_start|>", ids: [0], tokens: ["<|im_start|>"] },
        },
      },
    }),
  );
  const config = parseChatConfig(bytesOf({ eos_token_id: 1 }));
  const model = (template: ChatTemplate | null) =>
    new ChatModel(new Engine(new FakeRuntime()), tokenizer, template, config);
  const user = (content: string) => ({ role: "user" as const, content });

  it("leaves special tokens to the template", async () => {
    const template = new ChatTemplate("{{ messages[0].content }}", { bos: "", eos: "" });
    expect(await model(template).encodeMessages([user(" th")])).toEqual([201]);
  });

  it("continues one text where there is no template, after the tokens that begin a text", async () => {
    expect(await model(null).encodeMessages([user(" th")])).toEqual([0, 201]);
    const two = [user("a"), { role: "assistant" as const, content: "b" }];
    await expect(model(null).encodeMessages(two)).rejects.toThrow(/no chat template: it continues/);
  });
});

describe("what ChatModel asks of an engine", () => {
  const tokenizer = new Tokenizer(bytesOf(smallTokenizer()));
  const template = new ChatTemplate(CHATML, { bos: "", eos: "" });
  const config = parseChatConfig(bytesOf({ eos_token_id: 1 }));
  const system = { role: "system" as const, content: "You help." };
  const user = (content: string) => ({ role: "user" as const, content });

  async function asked(request: Partial<ChatRequest>): Promise<GenerateRequest> {
    const requests: GenerateRequest[] = [];
    const engine: TokenEngine = {
      contextWindowSize: 100,
      parallel: 1,
      generate: (generateRequest) => {
        requests.push(generateRequest);
        return Promise.resolve({ finishReason: "stop" } as Done);
      },
      score: () => Promise.resolve(),
      dispose: () => undefined,
    };
    const model = new ChatModel(engine, tokenizer, template, config);
    await model.chat({ messages: [], options: {}, ...request }, () => undefined);
    const [only] = requests;
    if (only === undefined) {
      throw new Error("nothing was asked");
    }
    return only;
  }

  it.each([
    ["a system message", [system, user("th12"), user("more")]],
    ["what the template says by itself", [user("th12")]],
  ])("never to leave out %s", async (_, messages) => {
    const { keepTokens = 0, promptTokenIds } = await asked({ messages });
    const begin = "<|im_start|>system\nYou help.<|im_end|>\n<|im_start|>user\n";
    expect(promptTokenIds.slice(0, keepTokens)).toEqual(tokenizer.encode(begin));
  });

  it("no end where the window moves on, and the window's where it does not", async () => {
    const messages = [user("a")];
    expect((await asked({ messages })).maxTokens).toBe(100);
    const moving = await asked({ messages, overflow: "shift" });
    expect(moving).toMatchObject({ maxTokens: Number.MAX_SAFE_INTEGER, overflow: "shift" });
  });
});

describe("parseChatConfig", () => {
  it("joins the tokens that end an answer", () => {
    const config = parseChatConfig(
      bytesOf({
        bos_token_id: 1,
        eos_token_id: [2, 3],
        temperature: 0.6,
        top_p: 0.9,
        conv_template: { stop_token_ids: [3, 7] },
      }),
    );
    expect(config).toEqual({
      contextWindowSize: Infinity,
      bosTokenId: 1,
      eosTokenId: 2,
      stopTokenIds: [2, 3, 7],
      temperature: 0.6,
      topP: 0.9,
      vocabularySize: null,
    });
  });

  it("takes one id for a list, and 1 for what is not said", () => {
    expect(parseChatConfig(bytesOf({ eos_token_id: 2 }))).toEqual({
      contextWindowSize: Infinity,
      bosTokenId: null,
      eosTokenId: 2,
      stopTokenIds: [2],
      temperature: 1,
      topP: 1,
      vocabularySize: null,
    });
  });

  it.each([
    [{}, /names no token that ends an answer/],
    [{ eos_token_id: "2" }, /eos_token_id must be a whole number/],
    [{ eos_token_id: -1 }, /eos_token_id must be between/],
    [{ eos_token_id: 2, temperature: -1 }, /temperature must be between/],
  ])("refuses %o", (json, message) => {
    expect(() => parseChatConfig(bytesOf(json))).toThrow(message);
  });
});

/** Bytes as tokens, two merges, digits one by one, and ChatML's specials: SmolLM2 in small. */
function smallTokenizer(): object {
  const visible = "!\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghij";
  const letters = Array.from(`${visible}klmnopqrstuvwxyz{|}~ĠĊÂħ½ï»¿`);
  const vocab = Object.fromEntries(
    ["<|im_start|>", "<|im_end|>", ...letters].map((t, i) => [t, i]),
  );
  vocab["Ġt"] = 200;
  vocab["Ġth"] = 201;
  vocab["12"] = 202;
  vocab["ĠÂ"] = 203;
  vocab["Ġï"] = 204;
  const special = (id: number, content: string) => ({
    id,
    content,
    special: true,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
  });
  return {
    version: "1.0",
    added_tokens: [special(0, "<|im_start|>"), special(1, "<|im_end|>")],
    normalizer: null,
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        { type: "Digits", individual_digits: true },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      ],
    },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", vocab, merges: ["Ġ t", "Ġt h", "1 2", "Ġ Â", "Ġ ï"] },
  };
}

describe("Tokenizer", () => {
  const tokenizer = new Tokenizer(bytesOf(smallTokenizer()));

  it("applies merges, keeps digits apart, and knows specials inside text", () => {
    const ids = tokenizer.encode("<|im_start|>a th 12<|im_end|>");
    expect(ids.map((id) => tokenizer.spelling(id))).toEqual([
      "<|im_start|>",
      "a",
      "Ġth",
      "Ġ",
      "1",
      "2",
      "<|im_end|>",
    ]);
  });

  it("keeps every kind of number apart, and knows white space as Unicode does", () => {
    // As the Rust library splits: ½ is a number, U+0085 is white space, U+FEFF is not.
    const pieces = (text: string) => tokenizer.encode(text).map((id) => tokenizer.spelling(id));
    expect(pieces("a ½")).toEqual(["a", "Ġ", "Â", "½"]);
    expect(pieces("a \u0085v")).toEqual(["a", "Ġ", "Â", "ħ", "v"]);
    expect(pieces("a \ufeffv")).toEqual(["a", "Ġï", "»", "¿", "v"]);
  });

  it("comes back to the same text", () => {
    const text = "that 12 things\nthere";
    const decoder = tokenizer.startDecoding();
    const pieces = tokenizer.encode(text).map((id) => decoder.push(id));
    expect(pieces.join("") + decoder.finish()).toBe(text);
  });

  it("refuses what is no tokenizer", () => {
    expect(() => new Tokenizer(bytesOf("{"))).toThrow(/tokenizer.json cannot be used/);
    expect(() => new Tokenizer(bytesOf({ model: {} }))).toThrow(/no model.vocab/);
  });
});
