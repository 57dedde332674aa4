import { describe, expect, it } from "vitest";

import { Detokenizer, TokenTable, type TokenizerJson } from "../../web/src/worker/detokenizer.ts";

/** GPT-2's alphabet, written here a second way: the table from the paper's own listing. */
function spell(bytes: Iterable<number>): string {
  const visible = [
    ...Array.from({ length: 94 }, (_, index) => 33 + index),
    ...Array.from({ length: 12 }, (_, index) => 161 + index),
    ...Array.from({ length: 82 }, (_, index) => 174 + index),
  ];
  const hidden = Array.from({ length: 256 }, (_, byte) => byte).filter((b) => !visible.includes(b));
  return Array.from(bytes, (byte) =>
    String.fromCodePoint(visible.includes(byte) ? byte : 256 + hidden.indexOf(byte)),
  ).join("");
}

/** A vocabulary of single bytes, id = byte, and one special token. */
function byteTokenizer(): TokenizerJson {
  const entries = Array.from({ length: 256 }, (_, byte) => [spell([byte]), byte] as const);
  return {
    model: { vocab: { ...Object.fromEntries(entries), [spell([0x20, 0x61])]: 300 } },
    decoder: { type: "ByteLevel" },
    added_tokens: [
      { id: 400, content: "<|im_end|>", special: true },
      { id: 401, content: "<tool>é", special: false },
    ],
  };
}

function pieces(table: TokenTable, ids: Iterable<number>): string[] {
  const decoder = new Detokenizer(table);
  return [...Array.from(ids, (id) => decoder.push(id)), decoder.finish()];
}

describe("Detokenizer", () => {
  const table = new TokenTable(byteTokenizer());

  it.each(["plain", "naïve café", "日本語", "🪟 👩‍🚀", "mixed é🙂ß\n\ttab", "\u{feff}bom"])(
    "puts %j together from single bytes, without a broken piece",
    (text) => {
      const parts = pieces(table, new TextEncoder().encode(text));
      expect(parts.join("")).toBe(text);
      expect(parts.some((part) => part.includes("\ufffd"))).toBe(false);
    },
  );

  it("says a character only when its last byte is there", () => {
    expect(pieces(table, [0xf0, 0x9f, 0xaa, 0x9f, 0x21])).toEqual(["", "", "", "🪟", "!", ""]);
  });

  it("keeps a token of several bytes whole, its space included", () => {
    expect(pieces(table, [300, 300])).toEqual([" a", " a", ""]);
  });

  it("gives a replacement character for what can never become one, and goes on", () => {
    expect(pieces(table, [0x61, 0xff, 0x62]).join("")).toBe("a\ufffdb");
  });

  it("gives a replacement character for a character that the end cut off", () => {
    expect(pieces(table, [0x61, 0xe6, 0x97])).toEqual(["a", "", "", "\ufffd"]);
  });

  it("says nothing for special tokens, also between the bytes of a character", () => {
    expect(pieces(table, [0xc3, 400, 0xa9]).join("")).toBe("é");
  });

  it("says an added token that is not special as it is written", () => {
    expect(pieces(table, [401]).join("")).toBe("<tool>é");
  });

  it("takes an added token's text as it is, whatever the alphabet", () => {
    const json = byteTokenizer();
    const vocab = { ...(json.model.vocab as Record<string, number>), "\t\t": 402 };
    const added = [{ id: 402, content: "\t\t", special: false }];
    const spaced = new TokenTable({ ...json, model: { vocab }, added_tokens: added });
    expect(pieces(spaced, [402, 0x61]).join("")).toBe("\t\ta");
  });

  it.each([
    ["a control character", "\t"],
    ["the next after the alphabet", "\u0144"],
    ["half of one", "🪟"],
  ])("refuses a token with %s", (_what, token) => {
    const json = byteTokenizer();
    const vocab = { ...(json.model.vocab as Record<string, number>), [token]: 402 };
    expect(() => new TokenTable({ ...json, model: { vocab } })).toThrow(/byte alphabet/);
  });

  it("names an id that the tokenizer does not have", () => {
    expect(() => pieces(table, [9999])).toThrow(/no token with id 9999/);
  });
});

describe("SentencePiece vocabularies", () => {
  const sentencePiece: TokenizerJson = {
    model: { vocab: { "▁Hello": 0, "▁world": 1, "<0xF0>": 2, "<0x9F>": 3, "<0xAA>": 4 } },
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace" },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip" },
      ],
    },
    added_tokens: [],
  };
  const table = new TokenTable(sentencePiece);

  it("turns ▁ into spaces and drops the first", () => {
    expect(pieces(table, [0, 1]).join("")).toBe("Hello world");
  });

  it("keeps a space that is not the first token's", () => {
    const special = { id: 5, content: "<s>", special: true };
    const longer = new TokenTable({ ...sentencePiece, added_tokens: [special] });
    expect(pieces(longer, [5, 0]).join("")).toBe(" Hello");
  });

  it("joins byte tokens", () => {
    const parts = pieces(table, [0, 2, 3, 4]);
    expect(parts).toEqual(["Hello", "", "", "", "\ufffd"]);
  });
});

it("reads Unigram's list of tokens and scores", () => {
  const decoders = [{ type: "Replace" }, { type: "ByteFallback" }, { type: "Fuse" }];
  const table = new TokenTable({
    model: {
      vocab: [
        ["<unk>", 0],
        ["▁so", -3],
      ],
    },
    decoder: { type: "Sequence", decoders },
    added_tokens: [{ id: 0, content: "<unk>", special: true }],
  });
  expect(pieces(table, [0, 1]).join("")).toBe(" so");
});

it("refuses a decoder that it would have to guess about", () => {
  const wordPiece = { ...byteTokenizer(), decoder: { type: "WordPiece" } };
  expect(() => new TokenTable(wordPiece)).toThrow(/not known here: WordPiece/);
});
