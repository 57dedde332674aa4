/** Which passages come with a question: all that fit, else the best by words and by vectors. */
import { describe, expect, it } from "vitest";

import type { DocumentAttachment } from "../../../web/src/chat/types.ts";
import { CONTEXT_WIDTH, contextOf, costOf } from "../../../web/src/documents/context.ts";
import {
  type Embedder,
  type EmbeddedPassages,
  HybridRetrieval,
  MOST_PASSAGES,
  type RetrievalOptions,
} from "../../../web/src/documents/retrieval.ts";
import { widthOf } from "../../../web/src/documents/text-width.ts";
import { WordIndex, termsOf } from "../../../web/src/documents/word-search.ts";

const signal = new AbortController().signal;

function attachment(name: string, sha256 = name): DocumentAttachment {
  const kind = "document" as const;
  return {
    kind,
    id: `id of ${name}`,
    name,
    mediaType: "",
    bytes: 1,
    sha256,
    characters: 1,
    pages: 0,
  };
}

/** Paragraphs of a passage each. */
function long(...topics: string[]): string {
  return topics
    .map((topic) => `${topic} ${"filler words without much sense ".repeat(26)}.`)
    .join("\n\n");
}

class Memory {
  readonly rows = new Map<string, EmbeddedPassages>();
  read = (sha256: string, model: string) =>
    Promise.resolve(this.rows.get(`${sha256} ${model}`) ?? null);
  write = (row: EmbeddedPassages) => {
    this.rows.set(`${row.sha256} ${row.model}`, row);
    return Promise.resolve();
  };
}

/** A vector has one place for each of these meanings. */
const MEANINGS = [/whale|largest animal|sea/i, /money|price|cost/i, /filler/i];

class FakeEmbedder implements Embedder {
  readonly model = "fake";
  readonly batches: number[] = [];
  embed = (texts: readonly string[]) => {
    this.batches.push(texts.length);
    return Promise.resolve(
      texts.map((text) => {
        const raw = MEANINGS.map((meaning, index) =>
          meaning.test(text) ? (index < 2 ? 5 : 1) : 0.01,
        );
        const length = Math.hypot(...raw);
        return Float32Array.from(raw, (value) => value / length);
      }),
    );
  };
}

function retrieval(
  texts: Record<string, readonly string[]>,
  more: Partial<RetrievalOptions> = {},
): HybridRetrieval {
  return new HybridRetrieval({
    textOf: ({ name }) => {
      const pages = texts[name];
      return Promise.resolve(pages === undefined ? null : { pages });
    },
    embedder: () => Promise.resolve(null),
    store: new Memory(),
    ...more,
  });
}

describe("retrieval", () => {
  it("gives whole documents where they fit, page by page", async () => {
    const texts = { "a.txt": ["All of it."], "b.pdf": ["One", " ", "Three"] };
    const sources = await retrieval(texts).retrieve(
      "?",
      [attachment("a.txt"), attachment("b.pdf")],
      {
        budgetCharacters: 1000,
        signal,
      },
    );
    expect(sources.map(({ name, page, text }) => [name, page, text])).toEqual([
      ["a.txt", 0, "All of it."],
      ["b.pdf", 1, "One"],
      ["b.pdf", 3, "Three"],
    ]);
  });

  it("stands at its budget: a character more is a choice of passages", async () => {
    const text = long("Bees", "Ships", "Bread");
    const [whole] = await retrieval({ a: [text] }).retrieve("Ships", [attachment("a")], {
      budgetCharacters: 1e6,
      signal,
    });
    const exact = CONTEXT_WIDTH + (whole === undefined ? 0 : costOf(whole));
    const at = async (budgetCharacters: number) =>
      retrieval({ a: [text] }).retrieve("Ships", [attachment("a")], { budgetCharacters, signal });
    expect(await at(exact)).toHaveLength(1);
    const chosen = await at(exact - 1);
    expect(chosen[0]?.text).toContain("Ships");
    for (const budget of [exact - 1, 2000, 1300, 900, 700, 500, 0]) {
      const sources = await at(budget);
      expect(sources.length === 0 ? 0 : widthOf(contextOf(sources))).toBeLessThanOrEqual(budget);
    }
  });

  it("gives so many passages at most, however much would fit", async () => {
    const text = long(...Array.from({ length: 60 }, (_, index) => `Bees ${index}`));
    const sources = await retrieval({ a: [text] }).retrieve("bees", [attachment("a")], {
      budgetCharacters: 40_000,
      signal,
    });
    expect(sources).toHaveLength(MOST_PASSAGES);
  });

  it("finds by words where no embedding model is at hand", async () => {
    const text = long("Bees make honey", "The invoice 4711 is of May", "Bread");
    const sources = await retrieval({ a: [text] }).retrieve(
      "What is invoice 4711?",
      [attachment("a")],
      {
        budgetCharacters: 1500,
        signal,
      },
    );
    expect(sources[0]?.text).toContain("4711");
    expect(sources[0]?.score).toBeGreaterThan(0.3);
    expect(sources[0]?.score).toBeLessThanOrEqual(1);
  });

  it("gives beginnings of all where nothing matches", async () => {
    const texts = { a: [long("Alpha", "Beta")], b: [long("Gamma", "Delta")] };
    const sources = await retrieval(texts).retrieve("总结", [attachment("a"), attachment("b")], {
      budgetCharacters: 2500,
      signal,
    });
    expect(sources.map(({ text }) => text.slice(0, 5))).toEqual(["Alpha", "Gamma", "Beta "]);
  });

  it("finds by meaning with an embedding model, and embeds a file once", async () => {
    const text = long("Blue whale", "Tax forms", "Kettle");
    const embedder = new FakeEmbedder();
    const store = new Memory();
    const told: [number, number][] = [];
    const searching = () =>
      retrieval(
        { a: [text] },
        {
          embedder: () => Promise.resolve(embedder),
          store,
          onProgress: (done, total) => told.push([done, total]),
        },
      ).retrieve("largest animal", [attachment("a")], { budgetCharacters: 1600, signal });
    const [first] = await searching();
    expect(first?.text).toContain("Blue whale");
    expect(first?.score).toBeGreaterThan(0.9);
    expect(told.at(0)).toEqual([0, 3]);
    expect(told.at(-1)).toEqual([3, 3]);
    expect(embedder.batches).toEqual([3, 1]);
    await searching();
    expect(embedder.batches).toEqual([3, 1, 1]);
    const [row] = store.rows.values();
    expect(row?.passages).toHaveLength(3);
  });

  it("embeds in batches, and stops between two", async () => {
    const controller = new AbortController();
    const embedder = new FakeEmbedder();
    const text = long(...Array.from({ length: 40 }, (_, index) => `Topic ${index}`));
    const searching = retrieval(
      { a: [text] },
      {
        embedder: () => Promise.resolve(embedder),
        onProgress: (done) => {
          if (done > 0) {
            controller.abort(new Error("stopped"));
          }
        },
      },
    ).retrieve("x", [attachment("a")], { budgetCharacters: 2000, signal: controller.signal });
    await expect(searching).rejects.toThrow("stopped");
    expect(embedder.batches.length).toBeLessThan(3);
  });

  it("goes on by words, and says so, where embedding fails", async () => {
    const failures: unknown[] = [];
    const failing = { model: "bad", embed: () => Promise.reject(new Error("no memory")) };
    const short = { model: "bad", embed: () => Promise.resolve([]) };
    for (const embedder of [failing, short]) {
      const [first] = await retrieval(
        { a: [long("Bees", "Ships")] },
        {
          embedder: () => Promise.resolve(embedder),
          onEmbeddingFailed: (error) => failures.push(error),
        },
      ).retrieve("ships", [attachment("a")], { budgetCharacters: 1500, signal });
      expect(first?.text).toContain("Ships");
    }
    expect(failures).toHaveLength(2);
  });

  it("searches the same file once, and tells of one that is gone", async () => {
    const missing: string[] = [];
    const sources = await retrieval(
      { a: ["text"], copy: ["text"] },
      { onMissing: ({ name }) => missing.push(name) },
    ).retrieve("?", [attachment("a", "same"), attachment("copy", "same"), attachment("gone")], {
      budgetCharacters: 1000,
      signal,
    });
    expect(sources).toHaveLength(1);
    expect(missing).toEqual(["gone"]);
  });
});

describe("words", () => {
  it.each([
    ["GRÖSSE", "Größe"],
    ["café", "CAFÉ"],
    ["ＡＢＣ", "abc"],
    ["مُدَرِّسَة", "مدرسه"],
    ["أحمد", "احمد"],
  ])("%s is %s", (a, b) => {
    expect(termsOf(a)).toEqual(termsOf(b));
  });

  it.each<[string, string, string[]]>([
    ["Kündigung", "Die Kündigungsfrist beträgt drei Monate.", ["Der Mietpreis steigt.", "Kinder"]],
    ["北京的天气", "今天北京天气很好。", ["上海人口众多。", "他喜欢吃苹果。"]],
    ["東京", "首都は東京です。", ["大阪は西にあります。", "猫が好き"]],
    ["العقد", "ينتهي هذا عقد الإيجار في مايو.", ["الطقس جميل", "قرأت رواية"]],
    ["서울 인구", "서울의 인구는 구백만이다.", ["부산은 항구다", "고양이"]],
  ])("%s finds %s", (question, wanted, others) => {
    const texts = [others[0] ?? "", wanted, others[1] ?? ""];
    expect(new WordIndex(texts).search(question)[0]?.index).toBe(1);
  });

  it("weighs rare words more, and long texts less", () => {
    const index = new WordIndex(["the the the cat", "the dog", `cat ${"the ".repeat(50)}`, "the"]);
    expect(index.search("the cat").map(({ index: at }) => at)[0]).toBe(0);
    expect(index.search("dog")).toEqual([
      { index: 1, score: expect.any(Number) as number, coverage: 1 },
    ]);
    expect(index.search("bird")).toEqual([]);
    expect(new WordIndex([]).search("x")).toEqual([]);
  });
});
