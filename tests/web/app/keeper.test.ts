import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { Keeper, type TurnDatabase, type WritingLocks } from "../../../web/src/chat/keeper.ts";
import type { Conversation, Turn } from "../../../web/src/chat/types.ts";
import { FakeLocks } from "../fake-locks.ts";
import { conversation, turn } from "./conversations.ts";

class FakeDatabase implements TurnDatabase {
  readonly kept = new Map<string, Turn>();
  readonly conversations = new Map([["c", conversation()]]);
  writes = 0;

  conversation = (id: string) => Promise.resolve(this.conversations.get(id));
  turns = (id: string) =>
    Promise.resolve([...this.kept.values()].filter((each) => each.conversation === id));
  putConversation = (about: Conversation) => {
    this.conversations.set(about.id, about);
    return Promise.resolve();
  };
  changeConversation = () => Promise.resolve();
  putTurn = (about: Turn) => {
    this.writes++;
    this.kept.set(about.id, about);
    return Promise.resolve();
  };
}

let database: FakeDatabase;
let locks: FakeLocks;

/** A tab of this browser, and what hides it. */
function tab(ownLocks: FakeLocks | null = locks): { keeper: Keeper; hide: () => void } {
  const hidings: (() => void)[] = [];
  const keeper = new Keeper({
    database,
    locks: ownLocks as WritingLocks | null,
    onHiding: (callback) => hidings.push(callback),
  });
  return {
    keeper,
    hide: () => {
      hidings[0]?.();
    },
  };
}

function streaming(text: string): Turn {
  return turn({ id: "answer", role: "assistant", state: "streaming", text });
}

beforeEach(() => {
  vi.useFakeTimers();
  database = new FakeDatabase();
  locks = new FakeLocks();
});

afterEach(() => {
  vi.useRealTimers();
});

describe("a turn that streams", () => {
  it("is written at once, then at most every 500 ms, with what came last", () => {
    const { keeper } = tab();
    for (let millisecond = 0; millisecond < 2000; millisecond += 10) {
      keeper.keepTurn(streaming(`until ${millisecond}`));
      vi.advanceTimersByTime(10);
      const kept = Number(database.kept.get("answer")?.text.replace("until ", ""));
      expect(millisecond - kept).toBeLessThanOrEqual(500);
    }
    expect(database.writes).toBe(5);
  });

  it("is written once where nothing more comes", () => {
    const { keeper } = tab();
    keeper.keepTurn(streaming("a"));
    vi.advanceTimersByTime(5000);
    keeper.keepTurn(streaming("b"));
    expect(database.writes).toBe(2);
    expect(database.kept.get("answer")?.text).toBe("b");
  });

  it("is written at once when it ends, and never again as one that streams", () => {
    const { keeper } = tab();
    keeper.keepTurn(streaming("a"));
    keeper.keepTurn(streaming("ab"));
    keeper.keepTurn({ ...streaming("abc"), state: "done" });
    expect(database.kept.get("answer")).toMatchObject({ text: "abc", state: "done" });
    vi.advanceTimersByTime(5000);
    keeper.flush();
    expect(database.kept.get("answer")).toMatchObject({ text: "abc", state: "done" });
    expect(database.writes).toBe(2);
  });

  it("is written at once when the page is hidden", () => {
    const { keeper, hide } = tab();
    keeper.keepTurn(streaming("a"));
    keeper.keepTurn(streaming("ab"));
    hide();
    expect(database.kept.get("answer")?.text).toBe("ab");
    hide();
    expect(database.writes).toBe(2);
  });
});

describe("reading", () => {
  it("finds nothing, and finds what has ended as it is", async () => {
    const { keeper } = tab();
    expect(await keeper.read("gone")).toBeNull();
    keeper.keepTurn(turn({ id: "question" }));
    expect(await keeper.read("c")).toEqual({
      conversation: conversation(),
      turns: [turn({ id: "question" })],
    });
    expect(database.writes).toBe(1);
  });

  it("takes an answer for interrupted when its tab died, and keeps it as that", async () => {
    database.kept.set("answer", streaming("half an ans"));
    const found = await tab().keeper.read("c");
    expect(found?.turns).toMatchObject([{ text: "half an ans", state: "interrupted" }]);
    expect(database.kept.get("answer")?.state).toBe("interrupted");
  });

  it("leaves an answer alone that another tab still writes, until that ends", async () => {
    const writer = tab();
    writer.keeper.begin("c");
    writer.keeper.keepTurn(streaming("half"));
    const reader = tab();
    expect((await reader.keeper.read("c"))?.turns).toMatchObject([{ state: "streaming" }]);
    expect((await writer.keeper.read("c"))?.turns).toMatchObject([{ state: "streaming" }]);
    writer.keeper.end("c");
    await vi.waitFor(async () => {
      expect((await locks.query()).held).toEqual([]);
    });
    expect((await reader.keeper.read("c"))?.turns).toMatchObject([{ state: "interrupted" }]);
  });

  it("hears when the tab that writes has ended, however that was", async () => {
    const written: string[] = [];
    const writer = tab();
    const reader = new Keeper({
      database,
      locks: locks as unknown as WritingLocks,
      onHiding: () => undefined,
      onWritten: (id) => written.push(id),
    });
    writer.keeper.begin("c");
    writer.keeper.keepTurn(streaming("half"));
    expect((await reader.read("c"))?.turns).toMatchObject([{ state: "streaming" }]);
    await reader.read("c");
    expect(written).toEqual([]);
    // What is left of a tab that was killed: its lock goes, and no other word comes.
    writer.keeper.end("c");
    await vi.waitFor(() => {
      expect(written).toEqual(["c"]);
    });
    expect((await reader.read("c"))?.turns).toMatchObject([{ state: "interrupted", text: "half" }]);
  });

  it("knows its own answers in a browser without locks", async () => {
    const { keeper } = tab(null);
    keeper.begin("c");
    keeper.keepTurn(streaming("half"));
    expect((await keeper.read("c"))?.turns).toMatchObject([{ state: "streaming" }]);
    keeper.end("c");
    expect((await keeper.read("c"))?.turns).toMatchObject([{ state: "interrupted" }]);
  });

  it("is not held up by an answer in another conversation", async () => {
    const { keeper } = tab();
    keeper.begin("other");
    database.kept.set("answer", streaming("half"));
    expect((await keeper.read("c"))?.turns).toMatchObject([{ state: "interrupted" }]);
  });
});

it("ends with what was waiting written", () => {
  const { keeper } = tab();
  keeper.begin("c");
  keeper.begin("c");
  keeper.keepTurn(streaming("a"));
  keeper.keepTurn(streaming("ab"));
  keeper.end("c");
  expect(database.kept.get("answer")?.text).toBe("ab");
});
