import { describe, expect, it, vi } from "vitest";

import type { Place, ToPage } from "../../web/src/api-protocol.ts";
import { houseNames } from "../../web/src/api-protocol.ts";
import { type LeadershipOptions, seekLeadership } from "../../web/src/client/leadership.ts";
import { live, whenGone } from "../../web/src/life.ts";
import { Leaders } from "../../web/src/sw/leaders.ts";
import { FakeLocks } from "./fake-locks.ts";

const SCOPE = "http://host/app/";
const PLACE: Place = { wanted: "auto", hasWebGpu: true, hasServer: false };
const GRACE_MILLISECONDS = 500;
/** By somebody who does not leave. */
const WAITED_FOR = new AbortController().signal;

function settle(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 10));
}

describe("life", () => {
  it("is told of as long as it is held", async () => {
    const locks = new FakeLocks();
    let isGone = false;
    await live("a", locks);
    void whenGone("a", locks).then(() => (isGone = true));
    await settle();
    expect(isGone).toBe(false);
    await whenGone("b", locks);
  });
});

describe("seekLeadership", () => {
  function page(locks: FakeLocks, id: string, log: string[], scope = SCOPE) {
    const options: LeadershipOptions = {
      locks,
      scope,
      id,
      onLead: () => log.push(`${id} leads`),
      onStandby: () => log.push(`${id} stands by`),
    };
    return seekLeadership(options);
  }

  it("gives one page the lead, one the place behind it, and others nothing", async () => {
    const locks = new FakeLocks();
    const log: string[] = [];
    const leaveA = page(locks, "a", log);
    const leaveB = page(locks, "b", log);
    page(locks, "c", log);
    await settle();
    expect(log.sort()).toEqual(["a leads", "b stands by"]);
    leaveA();
    await settle();
    expect(log.slice(2).sort()).toEqual(["b leads", "c stands by"]);
    leaveB();
    await settle();
    expect(log.slice(4)).toEqual(["c leads"]);
  });

  it("lets others hear of a leader's end", async () => {
    const locks = new FakeLocks();
    const leave = page(locks, "a", []);
    await settle();
    let isGone = false;
    void whenGone("a", locks).then(() => (isGone = true));
    await settle();
    expect(isGone).toBe(false);
    leave();
    await settle();
    expect(isGone).toBe(true);
  });

  it("knows one leader for each folder of a host", async () => {
    const locks = new FakeLocks();
    const log: string[] = [];
    page(locks, "a", log);
    page(locks, "b", log, "http://host/other/");
    await settle();
    expect(log).toEqual(["a leads", "b leads"]);
  });

  it("leaves the line without having led", async () => {
    const locks = new FakeLocks();
    const log: string[] = [];
    const leaveA = page(locks, "a", log);
    const leaveB = page(locks, "b", log);
    await settle();
    leaveB();
    leaveA();
    await settle();
    expect(log.sort()).toEqual(["a leads", "b stands by"]);
    const { held, pending } = await locks.query();
    expect([...held, ...pending]).toEqual([]);
  });
});

describe("Leaders", () => {
  function heard(locks = new FakeLocks()) {
    const asked: ToPage[] = [];
    const leaders = new Leaders(
      SCOPE,
      locks,
      (message) => {
        asked.push(message);
        return Promise.resolve();
      },
      GRACE_MILLISECONDS,
    );
    const { port1: port } = new MessageChannel();
    return { asked, leaders, locks, port };
  }

  it("asks all pages, and knows the one that answers", async () => {
    const { asked, leaders, locks, port } = heard();
    await live("a", locks);
    const found = leaders.find(WAITED_FOR);
    await settle();
    expect(asked).toEqual([{ kind: "who-leads" }]);
    leaders.receive({ kind: "leads", leader: "a", apiWorker: 1, port, place: PLACE });
    expect((await found)?.id).toBe("a");
    await leaders.find(WAITED_FOR);
    expect(asked.length).toBe(1);
    leaders.receive({ kind: "place", leader: "a", place: { ...PLACE, hasServer: true } });
    leaders.receive({ kind: "place", leader: "b", place: PLACE });
    expect((await leaders.find(WAITED_FOR))?.place.hasServer).toBe(true);
  });

  it("gives up where nobody leads or is about to", async () => {
    const { asked, leaders } = heard();
    expect(await leaders.find(WAITED_FOR)).toBeNull();
    expect(asked.length).toBeGreaterThan(0);
  });

  it("asks nobody any more when nobody waits", async () => {
    const { asked, leaders, locks, port } = heard();
    await live("a", locks);
    void locks.request(houseNames(SCOPE).leaderLock, () => new Promise(() => undefined));
    const [one, other] = [new AbortController(), new AbortController()];
    const found = Promise.all([leaders.find(one.signal), leaders.find(other.signal)]);
    await settle();
    one.abort();
    await vi.waitFor(() => {
      expect(asked.length).toBe(2);
    });
    other.abort();
    expect(await found).toEqual([null, null]);
    const later = leaders.find(WAITED_FOR);
    leaders.receive({ kind: "leads", leader: "a", apiWorker: 1, port, place: PLACE });
    expect((await later)?.id).toBe("a");
  });

  it("waits for a page that holds the lock but has no API worker yet", async () => {
    const { leaders, locks, port } = heard();
    await live("a", locks);
    void locks.request(houseNames(SCOPE).leaderLock, () => new Promise(() => undefined));
    const found = leaders.find(WAITED_FOR);
    await new Promise((resolve) => setTimeout(resolve, 2 * GRACE_MILLISECONDS));
    leaders.receive({ kind: "leads", leader: "a", apiWorker: 1, port, place: PLACE });
    expect((await found)?.id).toBe("a");
  });

  it("hears of a leader's end from its lock, and asks again", async () => {
    const { asked, leaders, locks, port } = heard();
    let end: () => void = () => undefined;
    const life = new Promise<void>((resolve) => (end = resolve));
    void locks.request("transom-alive-a", () => life);
    await settle();
    leaders.receive({ kind: "leads", leader: "a", apiWorker: 1, port, place: PLACE });
    const leader = await leaders.find(WAITED_FOR);
    expect(leader?.gone.aborted).toBe(false);
    end();
    await vi.waitFor(() => {
      expect(leader?.gone.aborted).toBe(true);
    });
    expect(await leaders.find(WAITED_FOR)).toBeNull();
    expect(asked.length).toBeGreaterThan(0);
  });

  it("takes the same news twice for one, and asks once for all who wait", async () => {
    const { asked, leaders, locks, port } = heard();
    await live("a", locks);
    const found = Promise.all([
      leaders.find(WAITED_FOR),
      leaders.find(WAITED_FOR),
      leaders.find(WAITED_FOR),
    ]);
    await settle();
    const leads = { kind: "leads", leader: "a", apiWorker: 1, place: PLACE } as const;
    leaders.receive({ ...leads, port });
    leaders.receive({ ...leads, port: new MessageChannel().port1 });
    const [first, ...others] = await found;
    expect(asked.length).toBe(1);
    expect(others).toEqual([first, first]);
    expect([first?.port, first?.gone.aborted]).toEqual([port, false]);
    leaders.receive({ ...leads, apiWorker: 2, port: new MessageChannel().port1 });
    expect(first?.gone.aborted).toBe(true);
  });

  it("takes a leader's new port for its old one, whose requests are asked again", async () => {
    const { leaders, locks, port } = heard();
    await live("a", locks);
    leaders.receive({ kind: "leads", leader: "a", apiWorker: 1, port, place: PLACE });
    const before = await leaders.find(WAITED_FOR);
    const error = { code: "internal", message: "no Python" } as const;
    leaders.receive({ kind: "unable", leader: "a", error, place: PLACE });
    expect(before?.gone.aborted).toBe(true);
    const after = await leaders.find(WAITED_FOR);
    expect([after?.port, after?.error, after?.gone.aborted]).toEqual([null, error, false]);
  });
});
