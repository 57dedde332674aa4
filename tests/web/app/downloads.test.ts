/** The line of downloads: one at a time, paused and gone on, kept beyond the page. */
import { describe, expect, it } from "vitest";

import { type Download, Downloads, type KeptDownload } from "../../../web/src/client/downloads.ts";
import { TransomError } from "../../../web/src/errors.ts";
import type { LoadProgress, LoadRequest } from "../../../web/src/protocol.ts";

const REQUEST: LoadRequest = {
  source: {
    kind: "registry",
    baseUrl: "http://host/",
    repository: "library/a",
    reference: "latest",
  },
  overrides: {},
};

/** An engine that brings what the test says, when it says so. */
function line(options: { atOnce?: number } = {}) {
  const running = new Map<string, { done: () => void; fail: (error: Error) => void }>();
  const tell = new Map<string, (progress: LoadProgress) => void>();
  const started: string[] = [];
  const discarded: string[] = [];
  const done: string[] = [];
  let kept: readonly KeptDownload[] = [];
  const downloads = new Downloads({
    bring: ({ name }, onProgress, signal) => {
      started.push(name);
      tell.set(name, onProgress);
      return new Promise<void>((resolve, reject) => {
        running.set(name, { done: resolve, fail: reject });
        signal.addEventListener("abort", () => {
          reject(new TransomError("aborted", "Stopped."));
        });
      });
    },
    discard: ({ name }) => {
      discarded.push(name);
      return Promise.resolve();
    },
    keep: (now) => {
      kept = now;
    },
    onChange: () => undefined,
    onDone: ({ name }) => {
      done.push(name);
    },
    ...options,
  });
  const states = () =>
    downloads.list.map(({ name, state }: Download) => `${name} ${state}`).join(", ");
  return { downloads, running, tell, started, discarded, done, states, kept: () => kept };
}

/** What waits for promises has happened. */
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) {
    await Promise.resolve();
  }
}

const PROGRESS: LoadProgress = {
  phase: "weights",
  file: null,
  doneBytes: 40,
  totalBytes: 100,
  bytesFromCache: 0,
  bytesDownloaded: 40,
  bytesPerSecond: 4,
  secondsLeft: 15,
  pipelineFraction: 1,
  fit: null,
};

describe("Downloads", () => {
  it("brings one at a time, in the order in which they were wanted", async () => {
    const { downloads, running, started, states, done } = line();
    downloads.add("a", REQUEST);
    downloads.add("b", REQUEST);
    downloads.add("a", REQUEST);
    expect(states()).toBe("a running, b waiting");
    running.get("a")?.done();
    await settled();
    expect(states()).toBe("a done, b running");
    expect(started).toEqual(["a", "b"]);
    expect(done).toEqual(["a"]);
    downloads.clear();
    expect(states()).toBe("b running");
  });

  it("lets the next one come while one is paused, and keeps what is known of it", async () => {
    const { downloads, running, tell, states } = line();
    downloads.add("a", REQUEST);
    downloads.add("b", REQUEST);
    tell.get("a")?.(PROGRESS);
    downloads.pause("a");
    await settled();
    expect(states()).toBe("a paused, b running");
    expect(downloads.list[0]?.progress?.doneBytes).toBe(40);
    downloads.resume("a");
    expect(states()).toBe("a waiting, b running");
    running.get("b")?.done();
    await settled();
    expect(states()).toBe("a running, b done");
  });

  it("goes on only when what was stopped is over", async () => {
    const { downloads, started, states } = line();
    downloads.add("a", REQUEST);
    downloads.pause("a");
    downloads.resume("a");
    expect(started).toEqual(["a"]);
    await settled();
    expect(started).toEqual(["a", "a"]);
    expect(states()).toBe("a running");
  });

  it("says what failed and tries again, and one that failed holds nobody up", async () => {
    const { downloads, running, states } = line();
    downloads.add("a", REQUEST);
    downloads.add("b", REQUEST);
    running.get("a")?.fail(new TransomError("network", "HTTP 503."));
    await settled();
    expect(states()).toBe("a failed, b running");
    expect(downloads.list[0]?.error).toBe("HTTP 503.");
    downloads.resume("a");
    expect(downloads.list[0]?.error).toBeNull();
    running.get("b")?.done();
    await settled();
    expect(states()).toBe("a running, b done");
  });

  it("takes up what failed for want of a network when there is one again, and nothing else", async () => {
    const outage = new TransomError("network", "a was cut off.", { facts: { attempts: 11 } });
    const others = [
      new TransomError("network", "the server answered 403."),
      new TransomError("model-not-found", "404."),
      new TransomError("no-room", "full"),
      new TransomError("digest-mismatch", "wrong"),
    ];
    const { downloads, running, states } = line({ atOnce: 9 });
    downloads.add("a", REQUEST);
    others.forEach(({ code }, index) => {
      downloads.add(`${index} ${code}`, REQUEST);
    });
    downloads.add("p", REQUEST);
    running.get("a")?.fail(outage);
    others.forEach((error, index) => {
      running.get(`${index} ${error.code}`)?.fail(error);
    });
    downloads.pause("p");
    await settled();
    downloads.reconnect();
    expect(states()).toBe(
      "a running, 0 network failed, 1 model-not-found failed, 2 no-room failed, " +
        "3 digest-mismatch failed, p paused",
    );
    expect(downloads.list[0]?.error).toBeNull();
    // What fails by itself the next time stays so.
    running.get("a")?.fail(others[1] ?? outage);
    await settled();
    downloads.reconnect();
    expect(states()).toMatch(/^a failed/);
  });

  it("forgets what has come of one that is cancelled, once it has stopped", async () => {
    const { downloads, discarded, states, kept } = line();
    downloads.add("a", REQUEST);
    const cancelled = downloads.cancel("a");
    expect(discarded).toEqual([]);
    expect(kept()).toEqual([]);
    await cancelled;
    expect(discarded).toEqual(["a"]);
    expect(states()).toBe("");
  });

  it("keeps the list for the next page, where what ran goes on and what was paused waits", async () => {
    const before = line();
    before.downloads.add("a", REQUEST);
    before.downloads.add("b", REQUEST);
    before.downloads.add("c", REQUEST);
    before.downloads.pause("b");
    const kept: unknown = JSON.parse(JSON.stringify(before.kept()));
    const after = line();
    after.downloads.restore(kept);
    expect(after.states()).toBe("a running, b paused, c waiting");
    after.running.get("a")?.done();
    await settled();
    expect(after.states()).toBe("a done, b paused, c running");
    expect(after.kept().map(({ name }) => name)).toEqual(["b", "c"]);
  });

  it.each([null, 7, {}, [null, { name: 3 }, { name: "a" }, { name: "b", request: 1 }]])(
    "finds nothing in %j",
    (kept) => {
      const { downloads, states } = line();
      downloads.restore(kept);
      expect(states()).toBe("");
    },
  );
});
