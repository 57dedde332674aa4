import { describe, expect, it } from "vitest";

import {
  branchTo,
  latestLeaf,
  leafBelow,
  pruned,
  shownLeaf,
  siblingPlace,
  treeOf,
} from "../../../web/src/chat/tree.ts";
import { titleOf } from "../../../web/src/chat/title.ts";
import { turn } from "./conversations.ts";

/**
 *   q1 ─ a1 ─ q2 ─ a2
 *      └ a3 ─ q3
 *   q4
 */
const TURNS = [
  turn({ id: "q1", createdAt: 1 }),
  turn({ id: "a1", parent: "q1", createdAt: 2 }),
  turn({ id: "q2", parent: "a1", createdAt: 3 }),
  turn({ id: "a2", parent: "q2", createdAt: 4 }),
  turn({ id: "a3", parent: "q1", createdAt: 5 }),
  turn({ id: "q3", parent: "a3", createdAt: 6 }),
  turn({ id: "q4", createdAt: 7 }),
];

function ids(turns: readonly { id: string }[]): string {
  return turns.map(({ id }) => id).join(" ");
}

describe("branches", () => {
  const tree = treeOf([...TURNS].reverse());

  it("goes from the first question down to a leaf", () => {
    expect(ids(branchTo(tree, "a2"))).toBe("q1 a1 q2 a2");
    expect(ids(branchTo(tree, "a3"))).toBe("q1 a3");
    expect(branchTo(tree, null)).toEqual([]);
    expect(branchTo(tree, "gone")).toEqual([]);
  });

  it("tells a turn's place among its siblings, oldest first", () => {
    expect(siblingPlace(tree, "a3")).toMatchObject({ number: 2, siblings: [{ id: "a1" }, {}] });
    expect(siblingPlace(tree, "q4")).toMatchObject({ number: 2, siblings: [{ id: "q1" }, {}] });
    expect(siblingPlace(tree, "q2")?.siblings).toHaveLength(1);
    expect(siblingPlace(tree, "gone")).toBeNull();
  });

  it("shows where something was said last below a chosen sibling", () => {
    expect(leafBelow(tree, "a1")).toBe("a2");
    expect(leafBelow(tree, "q1")).toBe("q3");
    expect(leafBelow(tree, "q4")).toBe("q4");
    expect(leafBelow(tree, "gone")).toBeNull();
  });

  it("shows the leaf that a conversation remembers, else the latest", () => {
    expect(shownLeaf(tree, "a2")).toBe("a2");
    expect(shownLeaf(tree, "gone")).toBe("q4");
    expect(shownLeaf(tree, null)).toBe("q4");
    expect(latestLeaf(treeOf([]))).toBeNull();
  });

  it("ends at a leaf where clocks were set back", () => {
    const back = treeOf([
      turn({ id: "question", createdAt: 9 }),
      turn({ id: "answer", parent: "question", createdAt: 1 }),
    ]);
    expect(latestLeaf(back)).toBe("answer");
  });
});

describe("deleting", () => {
  const tree = treeOf(TURNS);

  it("takes what follows along, and shows the next sibling's branch", () => {
    expect(pruned(tree, "a1", "a2")).toMatchObject({ removed: ["a1", "q2", "a2"], leaf: "q3" });
    expect(pruned(tree, "a3", "q3")).toMatchObject({ removed: ["a3", "q3"], leaf: "a2" });
  });

  it("shows the parent where there is no sibling, and nothing where there is no parent", () => {
    expect(pruned(tree, "q2", "a2").leaf).toBe("a1");
    expect(pruned(treeOf([turn({ id: "only" })]), "only", "only")).toEqual({
      turns: [],
      removed: ["only"],
      leaf: null,
    });
  });

  it("stays on a branch that it does not touch", () => {
    expect(pruned(tree, "a3", "a2").leaf).toBe("a2");
    expect(pruned(tree, "gone", "a2")).toMatchObject({ removed: [], leaf: "a2" });
  });
});

describe("turns from anywhere", () => {
  it("takes an orphan as a first question", () => {
    const tree = treeOf([turn({ id: "orphan", parent: "gone" })]);
    expect(ids(branchTo(tree, "orphan"))).toBe("orphan");
    expect(siblingPlace(tree, "orphan")?.number).toBe(1);
  });

  it("cuts a circle at its oldest turn, and keeps all of it", () => {
    const tree = treeOf([
      turn({ id: "b", parent: "a", createdAt: 2 }),
      turn({ id: "a", parent: "c", createdAt: 3 }),
      turn({ id: "c", parent: "b", createdAt: 1 }),
      turn({ id: "tail", parent: "a", createdAt: 0 }),
    ]);
    // c would follow b, which follows a, which follows c.
    expect(ids(branchTo(tree, "b"))).toBe("c a b");
    expect(ids(branchTo(tree, "tail"))).toBe("c a tail");
    expect(ids(branchTo(treeOf([turn({ id: "self", parent: "self" })]), "self"))).toBe("self");
  });

  it("walks a branch of 100,000 turns, and as many siblings", () => {
    const chain = Array.from({ length: 100_000 }, (_, index) =>
      turn({ id: `t${index}`, parent: index === 0 ? null : `t${index - 1}`, createdAt: index }),
    );
    const deep = treeOf(chain);
    expect(leafBelow(deep, "t0")).toBe("t99999");
    expect(branchTo(deep, "t99999")).toHaveLength(100_000);
    const wide = treeOf([
      turn({ id: "root" }),
      ...chain.map((each) => ({ ...each, parent: "root" })),
    ]);
    expect(pruned(wide, "root", null).removed).toHaveLength(100_001);
  });
});

describe("titles", () => {
  it.each([
    ["", ""],
    [" Hello\n\n  there\t", "Hello there"],
    ["a".repeat(60), "a".repeat(60)],
    ["a".repeat(61), `${"a".repeat(59)}…`],
    [
      "Why is the sky blue in the day but red in the evening, and never green?",
      "Why is the sky blue in the day but red in the evening, and…",
    ],
    ["\u202eevil\u202c", "evil"],
  ])("%j becomes %j", (text, title) => {
    expect(titleOf(text)).toBe(title);
  });

  it("never cuts a character in two", () => {
    const title = titleOf("👩‍👩‍👧‍👦".repeat(20));
    expect(title.length).toBeLessThanOrEqual(60);
    expect(title.replace("…", "").replaceAll("👩‍👩‍👧‍👦", "")).toBe("");
  });

  it("cuts between words that no space parts", () => {
    expect(titleOf("我想知道天空为什么是蓝色的".repeat(9)).length).toBeLessThanOrEqual(60);
  });
});
