/** A grammar that takes ever longer over a token is given up, and its answer with it. */
import { describe, expect, it } from "vitest";

import { MAX_STEP_MS } from "../../web/src/worker/grammar/step-watch.ts";
import { Walker, byteLevelVocabulary } from "./walk.ts";

/** A walker whose grammar takes so long over each token: twice, to read it and to find the next. */
function walkerWith(steps: readonly number[]): Walker {
  let calls = 0;
  let time = 0;
  return new Walker(byteLevelVocabulary(), () => {
    // Called before and after each piece of work; the first is the mask of the first token.
    const step = Math.floor(calls / 2);
    time += calls++ % 2 === 1 ? (steps[step] ?? 0) : 0;
    return time;
  });
}

/** Tokens that come before it is given up, of at most five. */
async function tokensOf(walker: Walker): Promise<number> {
  const constraint = await walker.maker.make({ kind: "regex", pattern: "[a-z]*" });
  const [id] = walker.encode("e");
  try {
    for (let tokens = 0; tokens < 5; tokens++) {
      try {
        constraint.nextMask();
      } catch (error) {
        expect(error).toMatchObject({ code: "invalid-request" });
        expect(String(error)).toMatch(/reads the same text in so many ways.*JSON schema/);
        return tokens;
      }
      constraint.accept(id ?? -1);
    }
    return 5;
  } finally {
    constraint.dispose();
  }
}

const SLOW = MAX_STEP_MS + 1;

describe("a grammar's steps", () => {
  // Work: mask, then accept and mask for each token.
  it.each([
    { steps: [], tokens: 5, what: "may be fast" },
    { steps: Array<number>(11).fill(MAX_STEP_MS / 2), tokens: 5, what: "may take up to the cap" },
    { steps: [SLOW, 0, 0, 0, SLOW], tokens: 5, what: "may take long now and then" },
    { steps: [0, 0, SLOW, 0, SLOW], tokens: 2, what: "may not take long twice in a row" },
    { steps: [0, SLOW / 2, SLOW / 2, SLOW], tokens: 2, what: "are reading and finding" },
  ])("$what", async ({ steps, tokens }) => {
    expect(await tokensOf(walkerWith(steps))).toBe(tokens);
  });
});
