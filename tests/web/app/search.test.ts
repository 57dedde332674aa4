import { describe, expect, it, vi } from "vitest";

import { ChatSearch, type Piece, fold, marked } from "../../../web/src/chat/search.ts";
import { conversation, turn } from "./conversations.ts";

/** With [brackets] around what matches. */
function shown(pieces: readonly Piece[] | undefined): string {
  return (pieces ?? []).map(({ text, isMatch }) => (isMatch ? `[${text}]` : text)).join("");
}

function searchIn(title: string, ...texts: string[]): ChatSearch {
  const search = new ChatSearch();
  search.put(
    conversation({ title }),
    texts.map((text, index) => turn({ id: `t${index}`, text, createdAt: index })),
  );
  return search;
}

describe("folding", () => {
  it.each([
    ["Ärger", "arger"],
    ["Straße", "strasse"],
    ["CAFÉ", "cafe"],
    ["ΟΔΟΣ οδος", "οδοσ οδοσ"],
    ["ｆｕｌｌ", "full"],
    ["مُحَمَّد", "محمد"],
    ["العـــربية", "العربية"],
    ["İstanbul", "istanbul"],
    ["हिन्दी", "हिन्दी"],
  ])("%s reads as %s", (text, folded) => {
    expect(fold(text)).toBe(folded);
  });
});

describe("finding", () => {
  it("wants every word, in the title or in one turn", () => {
    const search = searchIn("Trip to Rome", "Which trains are fast?", "The night train is slow.");
    expect(search.find("train rome")).toHaveLength(1);
    expect(search.find("TRAIN slow")[0]).toMatchObject({ turn: "t1" });
    expect(search.find("fast slow")).toEqual([]);
    expect(search.find("paris")).toEqual([]);
    expect(search.find("  ")).toEqual([]);
  });

  it("shows the newest turn, and none where the title says it all", () => {
    const search = searchIn("Trip", "train one", "train two");
    expect(search.find("train")[0]).toMatchObject({ turn: "t1" });
    expect(search.find("trip")[0]).toMatchObject({ turn: null, snippet: [] });
  });

  it("gives the conversation changed last first", () => {
    const search = new ChatSearch();
    for (const [id, updatedAt] of [
      ["a", 1],
      ["b", 3],
      ["c", 2],
    ] as const) {
      search.put(conversation({ id, updatedAt, title: "same" }), []);
    }
    expect(search.find("same").map((hit) => hit.conversation)).toEqual(["b", "c", "a"]);
  });

  it("knows what changed and what went", () => {
    const search = searchIn("Trip", "train");
    search.putConversation(conversation({ title: "Voyage" }));
    expect(search.find("voyage train")).toHaveLength(1);
    search.put(conversation({ title: "Voyage" }), [turn({ id: "t0", text: "plane" })]);
    expect(search.find("train")).toEqual([]);
    search.delete("c");
    expect(search.find("plane")).toEqual([]);
  });
});

describe("marks", () => {
  it.each([
    ["Café au lait", ["cafe", "lait"], "[Café] au [lait]"],
    ["Die Straße", ["strasse"], "Die [Straße]"],
    ["Die Straße", ["stras"], "Die [Stra]ße"],
    ["e\u0301te\u0301", ["ete"], "[e\u0301te\u0301]"],
    ["مُحَمَّد هنا", ["محمد"], "[مُحَمَّد] هنا"],
    ["😀 smile 😀", ["smile"], "😀 [smile] 😀"],
    ["aaa", ["aa"], "[aa]a"],
    ["nothing", ["else"], "nothing"],
    ["", ["x"], ""],
  ])("%s, %j", (text, words, expected) => {
    expect(shown(marked(text, words))).toBe(expected);
  });

  it("shows words around the first, on one line", () => {
    const text = `${"before ".repeat(50)}\n\n needle\n${"after ".repeat(50)}`;
    const snippet = shown(searchIn("Trip", text).find("NEEDLE")[0]?.snippet);
    expect(snippet).toMatch(/^…[a-z ]+ \[needle\] after [a-z ]+…$/);
    expect(snippet.length).toBeLessThan(150);
  });

  it("finds the place again in a text that folding made longer", () => {
    const text = `${"ß".repeat(5000)} needle ${"x".repeat(5000)}`;
    const hit = searchIn("Trip", text).find("needle")[0];
    expect(shown(hit?.snippet)).toContain("[needle]");
  });
});

it("folds texts when they are put in, not when they are searched", () => {
  const search = new ChatSearch();
  const turns = Array.from({ length: 1000 }, (_, index) =>
    turn({ id: `t${index}`, createdAt: index, text: `Straße ${index}` }),
  );
  search.put(conversation({ id: "c" }), turns);
  const normalize = vi.spyOn(String.prototype, "normalize");
  expect(search.find("straße nothing-of-the-kind")).toEqual([]);
  const { length } = normalize.mock.calls;
  normalize.mockRestore();
  // Once for the question, whatever there is to search.
  expect(length).toBeGreaterThan(0);
  expect(length).toBeLessThan(10);
});
