/** The API's calls on the page's engine: by name, loaded when asked for. */
import { describe, expect, it } from "vitest";

import type { CompleteRequest, OpenedModel } from "../../web/src/api-protocol.ts";
import type { Entry } from "../../web/src/client/catalogue.ts";
import { type Steady, SteadyApiEngine } from "../../web/src/client/steady-api-engine.ts";
import type { LoadedModel } from "../../web/src/client/steady-engine.ts";
import { TransomError } from "../../web/src/errors.ts";
import type { LoadProgress, LoadReport, LoadRequest } from "../../web/src/protocol.ts";

const BASE = "http://host/";

function entry(model: string): Entry {
  return {
    row: {
      name: `library/${model}:latest`,
      created: 0,
      bytes: 1,
      digest: "",
      details: {},
      capabilities: [],
      isStored: false,
    },
    isOffered: true,
    license: null,
    request: {
      overrides: {},
      source: {
        kind: "registry",
        baseUrl: BASE,
        repository: `library/${model}`,
        reference: "latest",
      },
    },
  };
}

/** Has models of these names, and room for one. */
class FakeSteady implements Steady {
  readonly loaded = new Map<string, LoadedModel>();
  readonly asked: unknown[] = [];
  gate: Promise<void> = Promise.resolve();
  failure: TransomError | null = null;

  async load(request: LoadRequest, onProgress: (progress: LoadProgress) => void) {
    const { source } = request;
    const model = source.kind === "registry" ? source.repository.replace("library/", "") : "";
    this.asked.push(["load", model]);
    onProgress({ phase: "weights" } as LoadProgress);
    await this.gate;
    if (this.failure !== null) {
      throw this.failure;
    }
    const report = { model, gpuBytes: 7 } as LoadReport;
    this.loaded.clear();
    this.loaded.set(model, { request, report });
    return report;
  }

  unload(model: string) {
    this.loaded.delete(model);
    return Promise.resolve();
  }

  complete(request: CompleteRequest) {
    this.asked.push(["complete", request.model]);
    return Promise.resolve();
  }

  embed({ model, texts }: Parameters<Steady["embed"]>[0]) {
    this.asked.push(["embed", model, texts]);
    return Promise.resolve({ vectors: [Float32Array.of(1)], tokenCounts: [2, 3] });
  }

  open(model: string) {
    this.asked.push(["open", model]);
    return Promise.resolve({ name: model, loadSeconds: 0, contextTokens: 9 } as OpenedModel);
  }

  tokenize({ model }: Parameters<Steady["tokenize"]>[0]) {
    this.asked.push(["tokenize", model]);
    return Promise.resolve([1]);
  }

  detokenize({ model }: Parameters<Steady["detokenize"]>[0]) {
    return Promise.resolve(model);
  }
}

function start() {
  const steady = new FakeSteady();
  const heard: string[] = [];
  const entries = [entry("one"), entry("two")];
  const engine = new SteadyApiEngine(
    steady,
    {
      entries: () => Promise.resolve(entries),
      find: (name) =>
        Promise.resolve(entries.find(({ row }) => row.name === `library/${name}:latest`) ?? null),
    },
    {
      onProgress: (name, { phase }) => heard.push(`${name} ${phase}`),
      onLoaded: (name) => heard.push(`${name} loaded`),
      onFailed: (name, error) => heard.push(`${name} ${(error as TransomError).code}`),
    },
  );
  return { steady, engine, heard };
}

describe("SteadyApiEngine", () => {
  it("loads what is asked for, once for all who wait, and tells the page", async () => {
    const { steady, engine, heard } = start();
    const [one, same] = await Promise.all([engine.open("one"), engine.open("ONE".toLowerCase())]);
    expect(one).toMatchObject({ name: "library/one:latest", contextTokens: 9 });
    expect(one.loadSeconds).toBeGreaterThan(0);
    expect(same.name).toBe(one.name);
    expect(await engine.open("library/one:latest")).toMatchObject({ loadSeconds: 0 });
    expect(steady.asked.filter((asked) => Array.isArray(asked) && asked[0] === "load")).toEqual([
      ["load", "one"],
    ]);
    expect(heard).toEqual(["library/one:latest weights", "library/one:latest loaded"]);
    expect(await engine.models()).toMatchObject([{ loadedBytes: 7 }, { loadedBytes: null }]);
  });

  it("knows what the page has loaded by itself", async () => {
    const { steady, engine } = start();
    await steady.load(entry("one").request, () => undefined);
    expect(await engine.open("one")).toMatchObject({ loadSeconds: 0 });
    await engine.unload("one");
    expect(steady.loaded.size).toBe(0);
    await engine.unload("nobody");
  });

  it("calls models as the engine does, and loads again what had to leave", async () => {
    const { steady, engine } = start();
    await engine.open("one");
    await engine.open("two");
    await engine.complete({ model: "one" } as CompleteRequest, () => undefined);
    expect(steady.asked.slice(-2)).toEqual([
      ["load", "one"],
      ["complete", "one"],
    ]);
    expect(await engine.embed({ model: "one", inputs: ["a", [1]] })).toMatchObject({ tokens: 5 });
    const asked = { model: "one", text: "", special: true, around: true };
    expect(await engine.tokenize(asked)).toEqual([1]);
    expect(await engine.detokenize({ model: "one", tokens: [1] })).toBe("one");
  });

  it("says what it has not, and why a load failed", async () => {
    const { steady, engine, heard } = start();
    await expect(engine.open("nobody")).rejects.toMatchObject({ code: "model-not-found" });
    steady.failure = new TransomError("out-of-memory", "too much");
    await expect(engine.open("one")).rejects.toMatchObject({ code: "out-of-memory" });
    expect(heard.at(-1)).toBe("library/one:latest out-of-memory");
    steady.failure = null;
    await expect(engine.open("one")).resolves.toMatchObject({ name: "library/one:latest" });
  });

  it("lets go of who does not wait any more; the load goes on", async () => {
    const { steady, engine } = start();
    let open: () => void = () => undefined;
    steady.gate = new Promise((resolve) => (open = resolve));
    const controller = new AbortController();
    const opening = engine.open("one", controller.signal);
    controller.abort();
    await expect(opening).rejects.toMatchObject({ code: "aborted" });
    open();
    expect(await engine.open("one")).toMatchObject({ name: "library/one:latest" });
    expect(
      steady.asked.filter((asked) => Array.isArray(asked) && asked[0] === "load"),
    ).toHaveLength(1);
    const stopped = engine.complete(
      { model: "one" } as CompleteRequest,
      () => undefined,
      controller.signal,
    );
    await expect(stopped).rejects.toMatchObject({ code: "aborted" });
  });
});
