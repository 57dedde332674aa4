/** Outages in the middle of a download: how long they are put up with, and what ends the waiting. */
import { afterEach, describe, expect, it, vi } from "vitest";

import { type DownloadOptions, downloadFile } from "../../web/src/store/download.ts";
import { RETRY_PAUSES_MS } from "../../web/src/store/network.ts";
import { type Line, LONG_PAUSES_MS, MAX_OFFLINE_MS } from "../../web/src/store/patience.ts";
import { patternBytes } from "./bundle-fixture.ts";
import { FakeNetwork, broken, ranges, rest, status, unreachable } from "./fake-network.ts";

const FILE = patternBytes(1000);
const PIECE = 500;
const LONGEST_MS = 30_000;

function download(network: FakeNetwork, options: DownloadOptions = {}) {
  return downloadFile("shard", ["http://host/blob"], FILE.length, null, {
    ...network.options,
    pieceBytes: PIECE,
    connections: 1,
    ...options,
  });
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}

/** The first piece comes; from then on nobody answers for so long. */
function outage(milliseconds: number): FakeNetwork {
  const network: FakeNetwork = new FakeNetwork(ranges(FILE), (asked) =>
    sum(network.pauses) < milliseconds ? unreachable()(asked) : ranges(FILE)(asked),
  );
  return network;
}

class FakeLine implements Line {
  isOut = true;
  readonly listeners = new Set<() => void>();

  isDown(): boolean {
    return this.isOut;
  }

  onUp(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  up(): void {
    this.isOut = false;
    this.listeners.forEach((listener) => {
      listener();
    });
  }
}

/** What waits for promises has happened. */
const settled = () => new Promise((resolve) => setTimeout(resolve));
const never = () => new Promise<void>(() => undefined);

describe("an outage in the middle of a download", () => {
  it.each([0, 1])("of two minutes is outlived, with chance at %i", async (chance) => {
    const network = outage(120_000);
    expect(await download(network, { random: () => chance })).toEqual(FILE);
    expect(Math.max(...network.pauses)).toBeLessThanOrEqual(LONGEST_MS);
  });

  it("that does not end is told", async () => {
    const network = outage(Infinity);
    await expect(download(network)).rejects.toMatchObject({
      code: "network",
      facts: { attempts: LONG_PAUSES_MS.length + 1 },
    });
    expect(network.pauses).toEqual(LONG_PAUSES_MS);
  });

  it("is waited out by each connection in its own time", async () => {
    let chance = 0;
    const network = outage(120_000);
    await download(network, { random: () => (chance += 0.01) });
    const shortened = network.pauses.map((pause, index) => pause / (LONG_PAUSES_MS[index] ?? 0));
    expect(new Set(shortened).size).toBe(shortened.length);
    expect(Math.min(...shortened)).toBeGreaterThanOrEqual(0.8);
  });

  it("is counted anew after any byte that came", async () => {
    let asked = 0;
    const network = new FakeNetwork((request) =>
      // Twenty outages of nine attempts, and a few bytes in between.
      ++asked > 200
        ? rest(FILE)(request)
        : asked % 10 === 1
          ? broken(FILE.slice(Number(/\d+/.exec(request.range ?? "0")?.[0])), 3)(request)
          : unreachable()(request),
    );
    expect(await download(network, { pieceBytes: FILE.length })).toEqual(FILE);
    expect(network.pauses.filter((pause) => pause === RETRY_PAUSES_MS[0])).toHaveLength(20);
  });

  it("does not hold up whoever stops", async () => {
    const controller = new AbortController();
    const network = outage(Infinity);
    const stopped = download(network, { signal: controller.signal, pause: never });
    await settled();
    controller.abort();
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
  });

  it("is no reason to ask often for what comes damaged", async () => {
    const headers = { "Content-Digest": `sha-256=:${"A".repeat(43)}=:` };
    const network = new FakeNetwork(ranges(FILE), () => {
      return new Response(FILE.slice(PIECE), { status: 206, headers });
    });
    await expect(download(network)).rejects.toThrow("damaged");
    expect(network.pauses.every((pause) => pause <= Math.max(...RETRY_PAUSES_MS))).toBe(true);
  });
});

describe("a host that never answered", () => {
  it.each([
    ["refuses connections", unreachable()],
    ["is unwell", status(503)],
  ])("and %s is given up soon, whatever the line is said to be", async (_, reply) => {
    for (const isOut of [false, true]) {
      const network = new FakeNetwork(reply);
      const line = Object.assign(new FakeLine(), { isOut });
      await expect(download(network, { line })).rejects.toThrow("5 attempts");
      expect(network.pauses).toEqual(RETRY_PAUSES_MS);
      expect(line.listeners.size).toBe(0);
    }
  });
});

describe("a line that is down", () => {
  it("is waited for, and the download goes on the moment it is up", async () => {
    const line = new FakeLine();
    const network = new FakeNetwork(ranges(FILE), unreachable(), ranges(FILE));
    const done = download(network, { line, pause: never });
    await settled();
    expect(network.asked).toHaveLength(2);
    line.up();
    expect(await done).toEqual(FILE);
    expect(line.listeners.size).toBe(0);
  });

  it("costs no attempts, and now and then the host is asked all the same", async () => {
    const line = new FakeLine();
    const network = outage(MAX_OFFLINE_MS - 1);
    expect(await download(network, { line })).toEqual(FILE);
    expect(network.pauses).toHaveLength(MAX_OFFLINE_MS / LONGEST_MS);
  });

  it("is not waited for without end", async () => {
    const network = outage(Infinity);
    await expect(download(network, { line: new FakeLine() })).rejects.toMatchObject({
      code: "network",
    });
    expect(sum(network.pauses)).toBe(MAX_OFFLINE_MS + sum(LONG_PAUSES_MS));
  });

  describe("as browsers tell it", () => {
    afterEach(() => {
      vi.unstubAllGlobals();
      vi.useRealTimers();
    });

    it("is up also where no event comes", async () => {
      vi.useFakeTimers();
      const system = { onLine: false };
      vi.stubGlobal("navigator", system);
      const network = new FakeNetwork(ranges(FILE), unreachable(), ranges(FILE));
      const done = download(network, { pause: never });
      await vi.advanceTimersByTimeAsync(5000);
      expect(network.asked).toHaveLength(2);
      system.onLine = true;
      await vi.advanceTimersByTimeAsync(5000);
      expect(await done).toEqual(FILE);
      expect(vi.getTimerCount()).toBe(0);
    });

    it("is up at the event", async () => {
      const scope = new EventTarget();
      const system = { onLine: false };
      vi.stubGlobal("navigator", system);
      vi.stubGlobal("addEventListener", scope.addEventListener.bind(scope));
      vi.stubGlobal("removeEventListener", scope.removeEventListener.bind(scope));
      const network = new FakeNetwork(ranges(FILE), unreachable(), ranges(FILE));
      const done = download(network, { pause: never });
      await settled();
      system.onLine = true;
      scope.dispatchEvent(new Event("online"));
      expect(await done).toEqual(FILE);
    });
  });
});
