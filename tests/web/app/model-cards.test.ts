/** What is known of models, put together; where they run; what somebody pasted. */
import { describe, expect, it } from "vitest";

import { AskedFacts } from "../../../web/src/client/asked-facts.ts";
import type { Entry } from "../../../web/src/client/catalogue.ts";
import {
  type CardSources,
  cardsOf,
  placesOf,
  readSpeeds,
  search,
  shortLicense,
  withSpeed,
} from "../../../web/src/client/model-cards.ts";
import { nameOfFile, readPasted } from "../../../web/src/client/pull-name.ts";
import type { Fit, LoadReport, StoredModel } from "../../../web/src/protocol.ts";

const PAGE = "https://models.example.com/ui/?model=a";

function entry(name: string, change: Partial<Entry> = {}): Entry {
  return {
    row: {
      name: `library/${name}:latest`,
      created: 0,
      bytes: 98e6,
      digest: "",
      details: { family: "llama", parameter_size: "135M", context_length: 8192 },
      capabilities: ["completion", "insert"],
      isStored: false,
    },
    request: {
      source: {
        kind: "registry",
        baseUrl: PAGE,
        repository: `library/${name}`,
        reference: "latest",
      },
      overrides: {},
    },
    isOffered: true,
    license: null,
    ...change,
  };
}

function kept(name: string, storedBytes: number): StoredModel {
  return {
    id: `${PAGE.replace(/[?].*/, "")}v2/library/${name}/manifests/latest`,
    name,
    index: null,
    totalBytes: 100,
    storedBytes,
    sharedBytes: 0,
    lastUsed: 0,
    isPinned: false,
    isInUse: false,
  };
}

function sources(change: Partial<CardSources> = {}): CardSources {
  return { entries: [], stored: [], loaded: [], facts: new Map(), speeds: {}, ...change };
}

/** The source of a stored model is the one of its address. */
function here(name: string, change: Partial<Entry> = {}): Entry {
  const baseUrl = "https://models.example.com/ui/";
  const repository = `library/${name}`;
  const source = { kind: "registry" as const, baseUrl, repository, reference: "latest" };
  return entry(name, { request: { source, overrides: {} }, ...change });
}

describe("cardsOf", () => {
  it("tells a model that is loaded, here, partly here, or at the host alone", () => {
    const loaded = {
      request: here("a").request,
      report: { gpuBytes: 300, contextWindowSize: 4096, licenses: "MIT" } as LoadReport,
    };
    const cards = cardsOf(
      sources({
        entries: ["a", "b", "c", "d"].map((name) => here(name)),
        stored: [kept("a", 100), kept("b", 100), kept("c", 40)],
        loaded: [loaded],
      }),
    );
    expect(cards.map(({ title, state }) => `${title} ${state}`)).toEqual([
      "a loaded",
      "b stored",
      "c partial",
      "d offered",
    ]);
    expect(cards[0]).toMatchObject({ loadedBytes: 300, contextTokens: 4096, license: "MIT" });
    expect(cards[3]).toMatchObject({ parameters: "135M", contextTokens: 8192, license: null });
    expect(cards[3]?.capabilities).toEqual(["completion"]);
  });

  it("believes the host more than the list", () => {
    const facts = new Map([
      [
        "library/a:latest",
        { license: "", licenseText: "", capabilities: ["embedding"], contextTokens: 512 },
      ],
    ]);
    const [card] = cardsOf(sources({ entries: [here("a")], facts }));
    expect(card).toMatchObject({ license: "", capabilities: ["embedding"], contextTokens: 512 });
  });

  it("finds cards that have all the words", () => {
    const cards = cardsOf(
      sources({ entries: [here("smollm2"), here("qwen", { license: "MIT" })] }),
    );
    expect(search(cards, " QW mit ").map(({ title }) => title)).toEqual(["qwen"]);
    expect(search(cards, "135m completion")).toHaveLength(2);
    expect(search(cards, "135m nothing")).toEqual([]);
  });
});

describe("speeds", () => {
  const answer = (decodeTokensPerSecond: number) => ({
    servedBy: "browser" as const,
    decodeTokensPerSecond,
  });

  it("are the middle of the last few answers, and none where none was measured", () => {
    let speeds = readSpeeds(null);
    for (const rate of [1, 40, 42, 300, 41, 39]) {
      speeds = withSpeed(speeds, "library/a:latest", answer(rate));
    }
    speeds = withSpeed(speeds, "library/a:latest", answer(0));
    speeds = withSpeed(speeds, "library/a:latest", answer(Infinity));
    const [a, b] = cardsOf(
      sources({
        entries: [here("a"), here("b")],
        speeds: readSpeeds(JSON.parse(JSON.stringify(speeds))),
      }),
    );
    expect(a?.speed).toEqual({ browser: 41, server: null });
    expect(b?.speed).toBeNull();
  });

  it("are expected to be those of other models, by their bytes", () => {
    const row = { ...here("b").row, bytes: 49e6 };
    const speeds = withSpeed({}, "library/a:latest", answer(40));
    const entries = [here("a"), here("b", { row }), here("c", { row: { ...row, bytes: 0 } })];
    const expected = cardsOf(sources({ entries, speeds })).map((card) => card.expectedSpeed);
    expect(expected).toEqual([
      { browser: 40, server: null },
      { browser: 80, server: null },
      { browser: null, server: null },
    ]);
  });

  it("of models that nobody asks any more make room", () => {
    let speeds = readSpeeds({ bad: 3, worse: { browser: ["x", -1], server: {} } });
    for (let model = 0; model < 300; model++) {
      speeds = withSpeed(speeds, `m${model}`, answer(1));
    }
    expect(Object.keys(speeds)).toHaveLength(200);
    expect(speeds["m299"]?.browser).toEqual([1]);
  });
});

describe("placesOf", () => {
  const FIT: Fit = {
    variant: "f16",
    downloadBytes: 60,
    storedBytes: 40,
    storageFreeBytes: 1000,
    gpuBytes: 300,
    budgetBytes: 1000,
    budgetReason: "",
    problems: [],
  };
  const fits = (change: Partial<Fit> = {}) =>
    placesOf({ kind: "fits", fit: { ...FIT, ...change } }, false)[0];

  it("says why it runs", () => {
    expect(placesOf({ kind: "fits", fit: FIT }, true)).toEqual([
      {
        where: "gpu",
        verdict: "runs",
        reasons: [{ code: "memory", bytes: 300, budgetBytes: 1000 }, { code: "f16" }],
      },
      { where: "server", verdict: "runs", reasons: [] },
    ]);
    expect(fits({ variant: "gguf" })).toMatchObject({
      where: "processor",
      reasons: [{ code: "slow" }],
    });
  });

  it("says why it may not, or does not", () => {
    const problem = (code: "out-of-memory" | "no-room" | "adapter-too-small", refusal: string) =>
      ({ problems: [{ code, message: "", facts: {}, refusal }] }) as Partial<Fit>;
    expect(fits(problem("out-of-memory", "unless-forced"))).toMatchObject({
      verdict: "forced",
      reasons: [{ code: "memory-short" }, { code: "f16" }],
    });
    expect(fits(problem("adapter-too-small", "always"))).toMatchObject({ verdict: "no" });
    expect(fits(problem("no-room", "never"))).toMatchObject({
      verdict: "runs",
      reasons: [{}, {}, { code: "no-room", bytes: 60, freeBytes: 1000 }],
    });
    expect(fits({ variant: "gguf", ...problem("out-of-memory", "always") })).toMatchObject({
      verdict: "no",
      reasons: [{ code: "too-large" }],
    });
    const refused = { kind: "refused", code: "no-variant", message: "m" } as const;
    expect(placesOf(refused, true).map(({ verdict }) => verdict)).toEqual(["no", "runs"]);
    expect(placesOf({ ...refused, code: "internal" }, false)[0]?.reasons).toEqual([
      { code: "said", message: "m" },
    ]);
  });
});

describe("shortLicense", () => {
  it.each([
    ["apache-2.0", "any text", "apache-2.0"],
    ["", "\n   Apache License\n   Version 2.0, January 2004\n", "Apache-2.0"],
    ["other", "Permission is hereby granted, free of charge, to any person", "MIT"],
    ["", "Gemma Terms of Use\nLast modified", "Gemma Terms of Use"],
    ["", "x".repeat(80), `${"x".repeat(59)}…`],
    ["", "", ""],
  ])("of %j and its text is short", (id, text, short) => {
    expect(shortLicense(id, text)).toBe(short);
  });
});

describe("readPasted", () => {
  it.each([
    ["smollm2", { kind: "name", model: "smollm2", registry: null }],
    [" transom pull me/tiny:v1 ", { kind: "name", model: "me/tiny:v1", registry: null }],
    [
      "registry.example.com:5000/library/tiny:latest",
      {
        kind: "name",
        model: "registry.example.com:5000/library/tiny:latest",
        registry: "registry.example.com:5000",
      },
    ],
    [
      "hf.co/org/model:Q4_K_M",
      { kind: "name", model: "hf.co/org/model:Q4_K_M", registry: "hf.co" },
    ],
    [
      "https://ollama.com/library/smollm2:135m",
      {
        kind: "name",
        model: "registry.ollama.ai/library/smollm2:135m",
        registry: "registry.ollama.ai",
      },
    ],
    [
      `reg.example/me/tiny@sha256:${"a".repeat(64)}`,
      {
        kind: "name",
        model: `reg.example/me/tiny@sha256:${"a".repeat(64)}`,
        registry: "reg.example",
      },
    ],
    ["https://x.example/a/b/tiny.gguf", { kind: "file", url: "https://x.example/a/b/tiny.gguf" }],
    ["hf://org/repo/tiny.gguf", { kind: "file", url: "hf://org/repo/tiny.gguf" }],
    ["http://127.0.0.1:8000/t.gguf", { kind: "file", url: "http://127.0.0.1:8000/t.gguf" }],
    [
      "https://models.example.com/ui/demo/index.json",
      { kind: "bundle", url: "https://models.example.com/ui/demo/" },
    ],
  ])("understands %s", (text, found) => {
    expect(readPasted(text, PAGE)).toEqual(found);
  });

  it.each([
    ["  ", "empty"],
    ["$ ollama pull ", "no-name"],
    ["two words", "no-name"],
    ["a/b/c/d", "no-name"],
    ["../../etc/passwd", "no-name"],
    ["ftp://x.example/tiny.gguf", "no-name"],
    ["https://me:secret@x.example/t.gguf", "credentials"],
    ["http://x.example/library/tiny", "plain-http"],
    ["https://x.example/some/long/page", "no-model-file"],
    ["hf://org/repo", "no-model-file"],
    ["x".repeat(3000), "too-long"],
    ["x".repeat(600), "too-long"],
  ])("refuses %s", (text, reason) => {
    expect(readPasted(text, PAGE)).toEqual({ kind: "wrong", reason });
  });

  it("names a model after its file", () => {
    expect(nameOfFile("Tiny Llama (Q4).gguf")).toBe("tiny-llama-q4");
    expect(nameOfFile("…gguf")).toBe("gguf");
    expect(nameOfFile("ñ.gguf")).toBe("");
  });
});

describe("AskedFacts", () => {
  it("asks once and one at a time, the latest wish first, and again what failed", async () => {
    const asked: string[] = [];
    const ends = new Map<string, (fails: boolean) => void>();
    const facts = new AskedFacts<string>((key) => {
      asked.push(key);
      return new Promise((resolve, reject) => {
        ends.set(key, (fails) => {
          if (fails) {
            reject(new Error("no"));
          } else {
            resolve(key.toUpperCase());
          }
        });
      });
    });
    const end = async (key: string, fails = false) => {
      ends.get(key)?.(fails);
      await new Promise((resolve) => setTimeout(resolve));
    };
    for (const key of ["a", "b", "a", "c"]) {
      facts.want(key);
    }
    expect(asked).toEqual(["a"]);
    await end("a");
    await end("c", true);
    await end("b");
    expect(asked).toEqual(["a", "c", "b"]);
    expect([...facts.all]).toEqual([
      ["a", "A"],
      ["b", "B"],
    ]);
    facts.want("c");
    expect(asked).toEqual(["a", "c", "b", "c"]);
    await end("c");
    expect(facts.all.get("c")).toBe("C");
  });

  it("asks once more for all that was wanted, also for what could not be had", async () => {
    const asked: string[] = [];
    let answer: (key: string) => Promise<string> = () => Promise.resolve("then");
    const told: (string | undefined)[] = [];
    const facts = new AskedFacts<string>(
      (key) => {
        asked.push(key);
        return answer(key);
      },
      (all) => told.push(all.get("a")),
    );
    const settle = () => new Promise((resolve) => setTimeout(resolve));
    facts.want("a");
    await settle();
    answer = () => Promise.reject(new Error("no"));
    facts.want("b");
    facts.again();
    expect(facts.all.get("a")).toBe("then");
    await settle();
    expect([...facts.all]).toEqual([]);
    answer = () => Promise.resolve("now");
    facts.again();
    await settle();
    expect([...facts.all].toSorted()).toEqual([
      ["a", "now"],
      ["b", "now"],
    ]);
    // Of "b": what was on its way when all were asked once more is not believed to be the newest.
    expect(asked.filter((key) => key === "b")).toHaveLength(3);
    expect(told).toContain(undefined);
  });
});
