import { afterEach, describe, expect, it, vi } from "vitest";

import type {
  ApiNews,
  HouseNews,
  PingApi,
  ServeApi,
  StartApi,
} from "../../web/src/api-protocol.ts";
import { ApiWorkerHost, PING_MILLISECONDS } from "../../web/src/client/api-worker-host.ts";
import { HouseNewsDesk, type NewsChannel } from "../../web/src/client/house-news.ts";
import type { LoadReport } from "../../web/src/protocol.ts";

class FakeApiWorker extends EventTarget {
  readonly heard: (StartApi | ServeApi | PingApi)["kind"][] = [];
  isOver = false;

  postMessage({ kind }: StartApi | ServeApi | PingApi): void {
    this.heard.push(kind);
  }

  terminate(): void {
    this.isOver = true;
  }

  say(news: ApiNews): void {
    this.dispatchEvent(new MessageEvent("message", { data: news }));
  }
}

function host() {
  const workers: FakeApiWorker[] = [];
  const log: string[] = [];
  const made = new ApiWorkerHost({
    start: () => {
      const worker = new FakeApiWorker();
      workers.push(worker);
      return worker as never;
    },
    bundleUrl: "http://host/python/",
    serveEngine: () => {
      log.push("served");
      return () => log.push("unserved");
    },
    onChange: () => log.push("changed"),
    onStarted: (seconds) => log.push(`started ${seconds}`),
    onHang: ({ message }) => log.push(message),
  });
  return { made, workers, log };
}

const FAILED: ApiNews = { kind: "failed", error: { code: "internal", message: "no wasm" } };

describe("ApiWorkerHost", () => {
  it("starts one worker, and lets it at the engine once the page leads", () => {
    const { made, workers, log } = host();
    made.prepare();
    made.prepare();
    expect(workers.map(({ heard }) => heard)).toEqual([["start"]]);
    workers[0]?.say({ kind: "started", seconds: 2 });
    made.engage();
    made.serve(new MessageChannel().port1);
    expect(workers.map(({ heard }) => heard)).toEqual([["start", "serve"]]);
    expect(log).toEqual(["started 2", "served"]);
    made.end();
    expect(log.at(-1)).toBe("unserved");
    expect(workers[0]?.isOver).toBe(true);
  });

  it("starts another one where it fails, and says when it gives up", () => {
    const { made, workers, log } = host();
    made.engage();
    workers[0]?.say(FAILED);
    workers[1]?.dispatchEvent(Object.assign(new Event("error"), { message: "syntax" }));
    expect(made.failure).toBeNull();
    expect(log).toEqual([
      "served",
      "unserved",
      "served",
      "changed",
      "unserved",
      "served",
      "changed",
    ]);
    workers[2]?.say(FAILED);
    expect(made.failure?.message).toBe("no wasm");
    expect(workers.map(({ isOver }) => isOver)).toEqual([true, true, true]);
    made.prepare();
    expect(workers.length).toBe(3);
  });

  it("takes an error after the start for one request's", () => {
    const { made, workers } = host();
    made.engage();
    workers[0]?.say({ kind: "started", seconds: 1 });
    workers[0]?.dispatchEvent(new Event("error"));
    expect(workers.length).toBe(1);
  });
});

describe("a worker that hangs", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  /** A worker that is at work. */
  function busy() {
    vi.useFakeTimers();
    const { made, workers, log } = host();
    made.engage();
    const work = () => {
      const worker = workers.at(-1);
      worker?.say({ kind: "started", seconds: 1 });
      worker?.say({ kind: "at-work", isAtWork: true });
      log.length = 0;
      return worker;
    };
    const tick = (times: number) => vi.advanceTimersByTime(times * PING_MILLISECONDS);
    return { made, workers, log, work, tick };
  }

  it("is asked whether it lives only while it works", () => {
    const { workers, work, tick } = busy();
    tick(10);
    const worker = work();
    expect(worker?.heard).toEqual(["start", "ping"]);
    for (let times = 0; times < 20; times++) {
      tick(3);
      worker?.say({ kind: "pong" });
    }
    worker?.say({ kind: "at-work", isAtWork: false });
    const pings = worker?.heard.length;
    tick(20);
    expect(worker?.heard.length).toBe(pings);
    expect(workers.length).toBe(1);
  });

  it("is ended, says why, and another one takes its place", () => {
    const { workers, log, work, tick } = busy();
    work();
    tick(3);
    expect(workers.length).toBe(1);
    tick(1);
    expect(workers.map(({ isOver }) => isOver)).toEqual([true, false]);
    expect(log).toEqual([
      "unserved",
      "served",
      "The API in this page did not answer for 20 seconds, and was started again.",
      "changed",
    ]);
    tick(20);
    expect(workers.length).toBe(2);
  });

  it("names the template that has no end, and says when it was so before", () => {
    const { workers, log, work, tick } = busy();
    const hang = (model: string) => {
      work()?.say({ kind: "rendering", model });
      tick(5);
      return log.find((words) => words.startsWith("The chat template")) ?? "";
    };
    expect(hang("a")).toContain("of a did not end within 20 seconds; the API");
    expect(hang("b")).not.toContain("in a row");
    expect(hang("a")).toContain("2 times in a row");
    expect(hang("a")).toContain("3 times in a row");
    const worker = work();
    worker?.say({ kind: "rendering", model: "a" });
    worker?.say({ kind: "rendering", model: "" });
    expect(hang("a")).not.toContain("in a row");
    // What an ended one still says is nobody's business.
    worker?.say({ kind: "failed", error: { code: "internal", message: "late" } });
    expect(workers.at(-1)?.isOver).toBe(false);
  });
});

describe("HouseNewsDesk", () => {
  /** Desks that hear each other, as tabs do. */
  function desks() {
    const listeners = new Map<object, ((event: { data: HouseNews }) => void)[]>();
    return () => {
      const channel: NewsChannel = {
        postMessage: (data) => {
          for (const [other, heard] of listeners) {
            if (other !== channel) {
              for (const listener of heard) {
                listener({ data });
              }
            }
          }
        },
        addEventListener: (_, listener) => {
          listeners.set(channel, [...(listeners.get(channel) ?? []), listener]);
        },
        close: () => listeners.delete(channel),
      };
      const news: string[] = [];
      const desk = new HouseNewsDesk(channel);
      desk.onNews(({ kind }) => news.push(kind));
      return { desk, news };
    };
  }

  it("brings the leader's news to all, and to those who come late what still holds", () => {
    const open = desks();
    const [leader, other] = [open(), open()];
    const loading = { kind: "loading", name: "a", progress: {} } as HouseNews;
    const report = { model: "a", unloaded: [] as string[] } as unknown as LoadReport;
    leader.desk.tell({ kind: "leads", leader: "1" });
    leader.desk.tell(loading);
    leader.desk.tell({ kind: "loaded", report });
    expect(leader.news).toEqual(["leads", "loading", "loaded"]);
    expect(other.news).toEqual(leader.news);
    // `hello` is said before anybody can listen; the answer comes later in a browser, here at once.
    const repeated: string[] = [];
    other.desk.onNews(({ kind }) => repeated.push(kind));
    open();
    expect(repeated).toEqual(["leads", "loaded"]);
    leader.desk.tell({ kind: "loaded", report: { ...report, model: "b", unloaded: ["a"] } });
    leader.desk.tell(loading);
    repeated.length = 0;
    open();
    expect(repeated).toEqual(["leads", "loaded", "loading"]);
  });
});
