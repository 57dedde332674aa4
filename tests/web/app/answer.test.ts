import { afterEach, expect, it, vi } from "vitest";

import { endOf } from "../../../web/src/chat/answer-turn.ts";
import { nothingYet, startAnswer } from "../../../web/src/chat/answer.ts";
import { newTurn } from "../../../web/src/chat/tree.ts";
import type { Completion, CompletionPiece } from "../../../web/src/client/completion-stream.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

const COMPLETION: Completion = {
  finishReason: "stop",
  servedBy: { place: "server", why: "the server is not reached", code: "not-reached" },
  usage: null,
  timings: null,
};
const REQUEST = { model: "m", messages: [], options: {} };

/** @param script milliseconds at which each piece comes. */
async function answered(script: readonly (readonly [number, Partial<CompletionPiece>])[]) {
  const now = vi.spyOn(performance, "now").mockReturnValue(0);
  const client = {
    complete: (_: unknown, onPiece: (piece: CompletionPiece) => void) => {
      // As it comes over a network: behind the call.
      const done = Promise.resolve().then(() => {
        for (const [at, piece] of script) {
          now.mockReturnValue(at);
          onPiece({ text: "", reasoning: "", tokenIds: [], calls: [], ...piece });
        }
        return COMPLETION;
      });
      return { done, abort: () => undefined };
    },
  };
  return startAnswer(client, REQUEST, nothingYet(), () => undefined).done;
}

it.each<[string, Parameters<typeof answered>[0], number]>([
  ["no thought", [[900, { text: "Hi" }]], 0],
  [
    "a thought, then a text",
    [
      [1000, { reasoning: "Hm" }],
      [3000, { reasoning: "!" }],
      [4500, { text: "Hi" }],
      [9000, { text: " there" }],
    ],
    3.5,
  ],
  [
    "a thought, then a call",
    [
      [1000, { reasoning: "Hm" }],
      [2000, { calls: [{ index: 0, id: "1", name: "clock", arguments: "" }] }],
      [5000, { text: "late" }],
    ],
    1,
  ],
  [
    "a thought that was cut off",
    [
      [1000, { reasoning: "Hm" }],
      [3000, { reasoning: "m" }],
    ],
    2,
  ],
])("measures how long %s took", async (_, script, seconds) => {
  expect((await answered(script)).reasoningSeconds).toBe(seconds);
});

it("keeps that with the turn, and adds what an answer that goes on thinks", async () => {
  const report = await answered([
    [1000, { reasoning: "Hm" }],
    [3000, { text: "Hi" }],
  ]);
  const first = newTurn({ conversation: "c", parent: null, role: "assistant" });
  const turn = endOf(first, report, "m", 0);
  expect(turn).toMatchObject({ reasoningSeconds: 2, figures: { whyCode: "not-reached" } });
  expect(endOf(turn, report, "m", 0).reasoningSeconds).toBe(4);
  const plain = endOf(first, await answered([[5, { text: "Hi" }]]), "m", 0);
  expect(plain).not.toHaveProperty("reasoningSeconds");
});
