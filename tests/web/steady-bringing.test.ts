/** Models that are coming, by a download or a load, while the engine dies and is started again. */
import { describe, expect, it } from "vitest";

import { EngineClient } from "../../web/src/client/engine-client.ts";
import { SteadyEngine } from "../../web/src/client/steady-engine.ts";
import { TransomError, toWireError } from "../../web/src/errors.ts";
import type {
  DownloadReport,
  LoadProgress,
  LoadReport,
  LoadRequest,
  Request,
} from "../../web/src/protocol.ts";
import { FakeWorker } from "./fake-worker.ts";

const LOST = new TransomError("device-lost", "The connection to the GPU was lost.");
const MOST_REVIVALS = 3;

function request(id: string): LoadRequest {
  return { source: { kind: "imported", id }, overrides: {} };
}

function progress(doneBytes: number): LoadProgress {
  return { phase: "weights", doneBytes, totalBytes: 100 } as LoadProgress;
}

/** What waits for promises has happened. */
const settled = () => new Promise((resolve) => setTimeout(resolve));

/** Workers that do what the test says, of which the last one lives. */
function engine() {
  const workers: FakeWorker[] = [];
  const seen = { bringings: 0, revivals: [] as boolean[] };
  const made = new SteadyEngine(
    () => {
      const worker = new FakeWorker();
      workers.push(worker);
      const client = new EngineClient(worker);
      return {
        client,
        end: () => {
          client.end();
        },
      };
    },
    (isOver) => seen.revivals.push(isOver),
    () => seen.bringings++,
  );
  const worker = () => workers.at(-1) ?? new FakeWorker();
  const find = (kind: Request["kind"]) =>
    worker().requests.findLast((each) => each.kind === kind)?.id ?? 0;
  return {
    made,
    seen,
    workers,
    /** What the living worker was asked, in order. */
    asked: () => worker().requests.map(({ kind }) => kind),
    tell: (kind: Request["kind"], doneBytes: number) => {
      worker().say({ kind: "loading", id: find(kind), progress: progress(doneBytes) });
    },
    reply: async (kind: Request["kind"], value: object) => {
      worker().say({ kind: "reply", id: find(kind), value: value as LoadReport });
      await settled();
    },
    fail: async (kind: Request["kind"], error: TransomError) => {
      worker().say({ kind: "error", id: find(kind), error: toWireError(error) });
      await settled();
    },
    /** As a worker that runs out of memory. */
    crash: async () => {
      worker().emit("error", { message: "out of memory" });
      await settled();
    },
  };
}

const REPORT = { model: "far", unloaded: [] } as Partial<LoadReport> as LoadReport;
const CHAT = { ...REPORT, model: "chat" };
const BROUGHT = { model: "far", totalBytes: 100 } as DownloadReport;
const ASKED = { messages: [{ role: "user", content: "hi" }], options: {} } as const;

/** With a model that is loaded, and another on its way. */
async function chatting() {
  const all = engine();
  const { made, reply } = all;
  const loading = made.load(request("chat"), () => undefined);
  await settled();
  await reply("load", CHAT);
  await loading;
  const answer = made.generate(ASKED, () => undefined).done;
  await settled();
  return { ...all, answer };
}

describe("a download", () => {
  it("goes on when the GPU of an answer beside it is lost", async () => {
    const { made, seen, asked, tell, reply, fail, answer } = await chatting();
    const told: number[] = [];
    const download = made.download(request("far"), ({ doneBytes }) => told.push(doneBytes));
    await settled();
    tell("download", 40);
    await fail("generate", LOST);
    // Who waits for an answer comes first.
    expect(asked()).toEqual(["load"]);
    await reply("load", CHAT);
    expect(asked().toSorted()).toEqual(["download", "generate", "load"]);
    tell("download", 60);
    await reply("download", BROUGHT);
    expect(await download).toEqual(BROUGHT);
    expect(told).toEqual([40, 60]);
    await reply("generate", { finishReason: "stop" });
    await answer;
    expect(seen).toEqual({ bringings: 2, revivals: [false, true] });
  });

  it("has a worker that died started again, also where nothing is loaded", async () => {
    const { made, workers, reply, crash } = engine();
    const download = made.download(request("far"), () => undefined);
    await settled();
    await crash();
    expect(workers).toHaveLength(2);
    await reply("download", BROUGHT);
    expect(await download).toEqual(BROUGHT);
  });

  it("is given up where every worker dies at once, and not while bytes come", async () => {
    const { made, workers, tell, crash } = engine();
    const download = made.download(request("far"), () => undefined);
    download.catch(() => undefined);
    await settled();
    for (let life = 1; life <= 2 * MOST_REVIVALS; life++) {
      tell("download", life);
      await crash();
    }
    expect(workers).toHaveLength(2 * MOST_REVIVALS + 1);
    for (let life = 0; life < MOST_REVIVALS; life++) {
      await crash();
    }
    await expect(download).rejects.toMatchObject({ code: "engine-crashed" });
    expect(workers).toHaveLength(3 * MOST_REVIVALS);
  });

  it("that is paused while the engine comes back ends at once, and is not asked for", async () => {
    const { made, asked, reply, fail, answer } = await chatting();
    const controller = new AbortController();
    const download = made.download(request("far"), () => undefined, controller.signal);
    await settled();
    await fail("generate", LOST);
    controller.abort();
    await expect(download).rejects.toMatchObject({ code: "aborted" });
    await reply("load", CHAT);
    await reply("generate", { finishReason: "stop" });
    await answer;
    expect(asked()).toEqual(["load", "generate"]);
  });

  it("goes on where what was loaded cannot be loaded again", async () => {
    const { made, reply, fail, answer } = await chatting();
    answer.catch(() => undefined);
    const download = made.download(request("far"), () => undefined);
    await settled();
    await fail("generate", LOST);
    await fail("load", new TransomError("no-adapter", "none"));
    await expect(answer).rejects.toMatchObject({ code: "device-lost" });
    await reply("download", BROUGHT);
    expect(await download).toEqual(BROUGHT);
  });

  it("revives nobody for what the network does", async () => {
    const { made, workers, fail } = engine();
    const download = made.download(request("far"), () => undefined);
    download.catch(() => undefined);
    await settled();
    await fail("download", new TransomError("network", "HTTP 503."));
    await expect(download).rejects.toMatchObject({ code: "network" });
    expect(workers).toHaveLength(1);
  });
});

describe("a load", () => {
  it("that dies with the engine of another model's answer is begun again", async () => {
    const { made, seen, asked, tell, reply, fail } = await chatting();
    const told: number[] = [];
    const load = made.load(request("far"), ({ doneBytes }) => told.push(doneBytes));
    await settled();
    tell("load", 40);
    await fail("generate", LOST);
    expect(asked()).toEqual(["load"]);
    await reply("load", CHAT);
    expect(asked().filter((kind) => kind === "load")).toHaveLength(2);
    tell("load", 60);
    await reply("load", REPORT);
    expect(await load).toEqual(REPORT);
    expect(told).toEqual([40, 60]);
    expect([...made.loaded.keys()]).toEqual(["chat", "far"]);
    expect(seen.bringings).toBe(2);
  });

  it("that loses its own device is tried once more, then says why", async () => {
    const { made, workers, fail, tell } = engine();
    const load = made.load(request("far"), () => undefined);
    load.catch(() => undefined);
    await settled();
    tell("load", 40);
    await fail("load", LOST);
    expect(workers).toHaveLength(2);
    tell("load", 80);
    await fail("load", LOST);
    await expect(load).rejects.toMatchObject({ code: "device-lost" });
    expect(workers).toHaveLength(2);
    expect(made.loaded.size).toBe(0);
  });

  it("waits for an engine that is coming back", async () => {
    const { made, asked, reply, fail } = await chatting();
    await fail("generate", LOST);
    const load = made.load(request("far"), () => undefined);
    await settled();
    expect(asked()).toEqual(["load"]);
    await reply("load", CHAT);
    await reply("load", REPORT);
    expect(await load).toEqual(REPORT);
  });
});
