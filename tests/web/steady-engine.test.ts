import { describe, expect, it } from "vitest";

import { type Client, SteadyEngine } from "../../web/src/client/steady-engine.ts";
import type { CompleteEvent, CompleteRequest, OpenedModel } from "../../web/src/api-protocol.ts";
import { TransomError } from "../../web/src/errors.ts";
import type {
  ChatRequest,
  Completion,
  Done,
  LoadReport,
  LoadRequest,
} from "../../web/src/protocol.ts";

const SOURCE = { source: { kind: "folder", baseUrl: "http://host/m/" }, overrides: {} } as const;
const ASKED: ChatRequest = { messages: [{ role: "user", content: "hi" }], options: { seed: 1 } };
const DONE = { finishReason: "stop" } as Done;
const ANSWER = [10, 11, 12, 13];

/** What the n-th worker does: says that many tokens, then dies of this, or ends well. */
interface Life {
  tokens: number;
  dies?: "device-lost" | "engine-crashed" | "invalid-request";
}

function engine(...lives: Life[]) {
  const seen = {
    asked: [] as ChatRequest[],
    completions: [] as Completion[],
    loads: 0,
    loaded: [] as string[],
    ends: 0,
    revivals: [] as boolean[],
    aborts: 0,
    failsToLoad: false,
  };
  let born = 0;
  const start = () => {
    const life = lives[Math.min(born++, lives.length - 1)] ?? { tokens: 0 };
    const client: Client = {
      load: (request) => {
        seen.loads++;
        seen.loaded.push(nameOf(request));
        if (seen.failsToLoad) {
          return Promise.reject(new TransomError("no-adapter", "none"));
        }
        const unloaded: string[] = [];
        return Promise.resolve({
          model: nameOf(request),
          unloaded,
        } as Partial<LoadReport> as LoadReport);
      },
      download: () => Promise.reject(new Error("nobody asks for it")),
      unload: () => Promise.resolve(),
      generate: (request, onPiece) => {
        seen.asked.push(request);
        const from = request.answeredTokenIds?.length ?? 0;
        const answer = async () => {
          await Promise.resolve();
          for (const tokenId of ANSWER.slice(from, from + life.tokens)) {
            onPiece({ tokenId, text: String(tokenId) });
          }
          if (life.dies !== undefined) {
            throw new TransomError(life.dies, "gone");
          }
          return DONE;
        };
        return { done: answer(), abort: () => seen.aborts++ };
      },
      complete: async (completion, onEvents) => {
        seen.completions.push(structuredClone(completion));
        await Promise.resolve();
        const { request, answered } = completion;
        for (let choice = 0; choice < request.choices; choice++) {
          const before = answered?.[choice];
          const from = before?.tokenIds.length ?? 0;
          // The first choice ends a token earlier.
          const most = ANSWER.length - (choice === 0 ? 1 : 0);
          const tokenIds = ANSWER.slice(from, Math.min(most, from + life.tokens));
          if (before?.isOver !== true) {
            onEvents(eventsOf(choice, tokenIds, from + tokenIds.length === most));
          }
        }
        if (life.dies !== undefined) {
          throw new TransomError(life.dies, "gone");
        }
      },
      open: () => Promise.resolve({ name: "m" } as OpenedModel),
      tokenize: () => Promise.resolve([1]),
      detokenize: () => Promise.resolve("a"),
      embed: () =>
        life.dies === undefined
          ? Promise.resolve({ vectors: [], tokenCounts: [1] })
          : Promise.reject(new TransomError(life.dies, "gone")),
    };
    return { client, end: () => seen.ends++ };
  };
  const made = new SteadyEngine(start, (isOver) => seen.revivals.push(isOver));
  return { made, seen };
}

function eventsOf(choice: number, tokenIds: readonly number[], isOver: boolean): CompleteEvent[] {
  const token = { kind: "token", choice, logprobs: [], promptTokens: 1 } as const;
  const done = { kind: "done", choice, finishReason: "stop" } as CompleteEvent;
  return [
    ...tokenIds.map((id) => ({ ...token, tokenIds: [id], text: String(id) })),
    ...(isOver ? [done] : []),
  ];
}

function nameOf({ source }: LoadRequest): string {
  return source.kind === "imported" ? source.id : source.baseUrl;
}

async function answer(made: SteadyEngine<Client>): Promise<string> {
  await made.load(SOURCE, () => undefined);
  let text = "";
  await made.generate(ASKED, (piece) => (text += piece.text)).done;
  return text;
}

describe("SteadyEngine", () => {
  it("loads once what is asked for twice", async () => {
    const { made: steady, seen } = engine({ tokens: 0 });
    const reports = [steady.load(SOURCE, () => undefined), steady.load(SOURCE, () => undefined)];
    expect(await reports[0]).toBe(await reports[1]);
    expect(seen.loads).toBe(1);
    await steady.load(SOURCE, () => undefined);
    expect(seen.loads).toBe(2);
  });

  it("goes on behind the tokens that were said", async () => {
    const { made, seen } = engine({ tokens: 2, dies: "device-lost" }, { tokens: 2 });
    expect(await answer(made)).toBe("10111213");
    expect(seen.asked).toEqual([ASKED, { ...ASKED, answeredTokenIds: [10, 11] }]);
    expect(seen).toMatchObject({ loads: 2, ends: 1, revivals: [false, true] });
  });

  it("goes on with each choice behind its own tokens", async () => {
    const { made, seen } = engine({ tokens: 3, dies: "device-lost" }, { tokens: 3 });
    await made.load(SOURCE, () => undefined);
    const events: CompleteEvent[] = [];
    const request = { choices: 2 } as CompleteRequest;
    await made.complete(request, (some) => events.push(...some));
    expect(seen.completions).toEqual([
      { request },
      {
        request,
        answered: [
          { tokenIds: [10, 11, 12], isOver: true },
          { tokenIds: [10, 11, 12], isOver: false },
        ],
      },
    ]);
    const textOf = (choice: number) =>
      events.map((event) => (event.kind === "token" && event.choice === choice ? event.text : ""));
    expect(textOf(0).join("")).toBe("101112");
    expect(textOf(1).join("")).toBe("10111213");
    expect(events.filter(({ kind }) => kind === "done")).toHaveLength(2);
  });

  it("gives up on a GPU that dies at once, again and again", async () => {
    const { made, seen } = engine({ tokens: 0, dies: "device-lost" });
    await expect(answer(made)).rejects.toMatchObject({ code: "device-lost" });
    expect(seen.ends).toBe(3);
  });

  it("says why it died where no other engine can be had", async () => {
    const { made, seen } = engine({ tokens: 1, dies: "device-lost" });
    await made.load(SOURCE, () => undefined);
    seen.failsToLoad = true;
    await expect(made.generate(ASKED, () => undefined).done).rejects.toMatchObject({
      code: "device-lost",
    });
    expect(seen.revivals).toEqual([false, true]);
  });

  it("does not give up while each life brings something", async () => {
    const dying: Life = { tokens: 1, dies: "engine-crashed" };
    const { made, seen } = engine(dying, dying, dying, dying, { tokens: 4 });
    expect(await answer(made)).toBe("10111213");
    expect(seen.ends).toBe(4);
  });

  it("revives nobody for a mistake of the asker", async () => {
    const { made, seen } = engine({ tokens: 0, dies: "invalid-request" });
    await expect(answer(made)).rejects.toMatchObject({ code: "invalid-request" });
    expect(seen.ends).toBe(0);
  });

  it("revives once for all that died together", async () => {
    const { made, seen } = engine({ tokens: 0, dies: "device-lost" }, { tokens: 4 });
    await made.load(SOURCE, () => undefined);
    const texts = ["a", "b"];
    await Promise.all([
      made.generate(ASKED, () => undefined).done,
      made.generate(ASKED, () => undefined).done,
      ...texts.map((text) => made.embed({ texts: [text] })),
    ]);
    expect(seen).toMatchObject({ loads: 2, ends: 1 });
  });

  it("loads again all that was loaded, the last one last", async () => {
    const { made, seen } = engine({ tokens: 2, dies: "device-lost" }, { tokens: 2 });
    const load = (id: string) =>
      made.load({ source: { kind: "imported", id }, overrides: {} }, () => undefined);
    for (const id of ["a", "b", "c", "a"]) {
      await load(id);
    }
    await made.unload("c");
    seen.loaded.length = 0;
    await made.generate({ ...ASKED, model: "b" }, () => undefined).done;
    expect(seen.loaded).toEqual(["b", "a"]);
    expect(seen.asked.map((request) => "model" in request && request.model)).toEqual(["b", "b"]);
  });

  it("stops an answer that waits for its new engine", async () => {
    const { made, seen } = engine({ tokens: 1, dies: "device-lost" }, { tokens: 3 });
    await made.load(SOURCE, () => undefined);
    const generation = made.generate(ASKED, () => {
      generation.abort();
    });
    await generation.done;
    expect(seen.aborts).toBeGreaterThan(1);
  });
});
