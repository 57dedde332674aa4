/** What hosts said of models, kept for when they are away. */
import { describe, expect, it } from "vitest";

import { type KeptFact, KeptFacts } from "../../web/src/client/kept-facts.ts";

const FACT: KeptFact = {
  digest: "sha256:1d",
  created: 7,
  bytes: 900,
  details: {
    family: "llama",
    parameter_size: "135M",
    families: ["llama"],
    context_length: 8192,
    embedding_length: null,
  },
  capabilities: ["completion", "tools"],
  license: "Apache-2.0",
};

function storage(text: string | null = null) {
  const kept = { text, writes: 0 };
  return {
    kept,
    getItem: () => kept.text,
    setItem: (_key: string, value: string) => {
      kept.text = value;
      kept.writes += 1;
    },
  };
}

describe("KeptFacts", () => {
  it("finds what was said of the model that is here, and of no other", () => {
    const place = storage();
    new KeptFacts(place).keep(new Map([["a", FACT]]), new Set(["a"]));
    const facts = new KeptFacts(place);
    expect(facts.find("a", "sha256:1d")).toEqual(FACT);
    expect(facts.find("a", null)).toEqual(FACT);
    expect(facts.find("a", "sha256:2e")).toBeNull();
    expect(facts.find("b", "sha256:1d")).toBeNull();
    expect(facts.find("toString", null)).toBeNull();
  });

  it("forgets models that this browser keeps no more, and writes only what is new", () => {
    const place = storage();
    const facts = new KeptFacts(place);
    facts.keep(new Map([["a", FACT]]), new Set(["a"]));
    facts.keep(new Map(), new Set(["a"]));
    facts.keep(new Map([["a", FACT]]), new Set(["a"]));
    expect(place.kept.writes).toBe(1);
    facts.keep(new Map([["b", FACT]]), new Set(["b"]));
    expect([facts.find("a", null), facts.find("b", null)]).toEqual([null, FACT]);
  });

  it("takes what is no list of facts for nothing", () => {
    for (const text of ["", "{", "null", "[1]", '{"a":null}', '{"a":{"digest":1}}']) {
      expect(new KeptFacts(storage(text)).find("a", null)).toBeNull();
    }
    const strange = {
      digest: "sha256:1d",
      created: -1,
      bytes: "9",
      details: { family: { deep: 1 }, format: "x".repeat(300), lengths: [1, "a"] },
      capabilities: "completion",
    };
    expect(new KeptFacts(storage(JSON.stringify({ a: strange }))).find("a", null)).toEqual({
      digest: "sha256:1d",
      created: 0,
      bytes: 0,
      details: { format: "x".repeat(200), lengths: ["a"] },
      capabilities: [],
      license: null,
    });
  });

  it("keeps so many and no more", () => {
    const place = storage();
    const said = new Map(Array.from({ length: 501 }, (_, index) => [`m${index}`, FACT] as const));
    new KeptFacts(place).keep(said, new Set(said.keys()));
    const facts = new KeptFacts(place);
    expect([facts.find("m0", null), facts.find("m500", null)]).toEqual([null, FACT]);
  });

  it("does without a browser that keeps nothing", () => {
    const refuses = {
      getItem: () => {
        throw new DOMException("no", "SecurityError");
      },
      setItem: () => {
        throw new DOMException("no", "SecurityError");
      },
    };
    const facts = new KeptFacts(refuses);
    facts.keep(new Map([["a", FACT]]), new Set(["a"]));
    expect(facts.find("a", null)).toBeNull();
  });
});
