/** Models by name: from the page's address, its host and this browser's storage. */
import { describe, expect, it } from "vitest";

import { Catalogue, type CatalogueOptions, sourceOf } from "../../web/src/client/catalogue.ts";
import { KeptFacts } from "../../web/src/client/kept-facts.ts";
import { nameOfSource, wholeName } from "../../web/src/client/model-name.ts";
import { MEDIA_TYPES } from "../../web/src/store/manifest-types.ts";
import type { LoadRequest, StoredModel } from "../../web/src/protocol.ts";

const BASE = "http://host/ui/";
const TAGS = {
  models: [
    {
      name: "smollm2:latest",
      modified_at: "2026-11-21T20:00:00Z",
      size: 900,
      digest: "ab12",
      details: { format: "gguf", family: "llama" },
    },
    { name: "me/Tiny:v2", modified_at: "no date", size: 5, digest: "sha256:cd" },
    { name: "other.host/me/far:latest" },
    { size: 3 },
  ],
};
const LAYOUT = {
  manifests: [
    { digest: "sha256:ef", annotations: { "org.opencontainers.image.ref.name": "smollm2:latest" } },
    { digest: "sha256:00" },
  ],
};

function keptModel(id: string, name: string, storedBytes = 10): StoredModel {
  return {
    id,
    name,
    index: "sha256:1d",
    totalBytes: 10,
    storedBytes,
    sharedBytes: 0,
    lastUsed: 5_500,
    isPinned: false,
    isInUse: false,
  };
}

function catalogue({
  models = [],
  body = TAGS,
  status = 200,
  ...options
}: Partial<CatalogueOptions> & {
  models?: StoredModel[];
  body?: unknown;
  status?: number;
} = {}) {
  const asked: [string, string | null][] = [];
  const made = new Catalogue({
    baseUrl: BASE,
    host: "server",
    named: null,
    stored: () => Promise.resolve({ models }),
    fetch: (input, init) => {
      const header = new Headers(init?.headers).get("Transom-Served-By");
      asked.push([(input as URL).href, header]);
      return body === null
        ? Promise.reject(new TypeError("Failed to fetch"))
        : Promise.resolve(Response.json(body, { status }));
    },
    ...options,
  });
  return { made, asked };
}

describe("Catalogue", () => {
  it("lists what the server offers, past the service worker", async () => {
    const { made, asked } = catalogue();
    const entries = await made.entries();
    expect(entries.map(({ row }) => row)).toMatchObject([
      {
        name: "library/smollm2:latest",
        created: 1795291200,
        bytes: 900,
        digest: "sha256:ab12",
        details: { family: "llama" },
        capabilities: ["completion"],
        isStored: false,
      },
      { name: "me/Tiny:v2", created: 0, bytes: 5, digest: "sha256:cd" },
    ]);
    expect(entries[1]?.request).toEqual({
      overrides: {},
      source: { kind: "registry", baseUrl: BASE, repository: "me/Tiny", reference: "v2" },
    });
    await made.entries();
    expect(asked).toEqual([[`${BASE}api/tags`, "server"]]);
  });

  it("tells of a model what its host said before, when it is away", async () => {
    const kept = new Map<string, string>();
    const facts = new KeptFacts({
      getItem: (key) => kept.get(key) ?? null,
      setItem: (key, value) => void kept.set(key, value),
    });
    const capabilities = ["completion", "tools"];
    const details = { family: "llama", parameter_size: "135M", context_length: 8192 };
    const row = { ...TAGS.models[0], digest: "1d", details, capabilities };
    const id = `${BASE}v2/library/smollm2/manifests/latest`;
    const models = [keptModel(id, "smollm2")];
    const { made } = catalogue({ models, facts, body: { models: [row] } });
    const before = await made.entries();
    const away = await catalogue({ models, facts, body: null }).made.entries();
    expect(away[0]?.row).toEqual(before[0]?.row);
    expect(away[0]).toMatchObject({
      isOffered: false,
      row: { details, capabilities, created: 1795291200 },
    });
    // What is here is another version than what was told of.
    const others = [{ ...keptModel(id, "smollm2"), index: "sha256:2e" as const }];
    const other = await catalogue({ models: others, facts, body: null }).made.entries();
    expect(other[0]?.row).toMatchObject({ details: {}, capabilities: ["completion"] });
  });

  it("lists what an export has", async () => {
    const { made, asked } = catalogue({ host: "layout", body: LAYOUT });
    expect(await made.entries()).toMatchObject([
      {
        row: { name: "library/smollm2:latest", digest: "sha256:ef" },
        request: { source: { kind: "layout", baseUrl: BASE, reference: "smollm2:latest" } },
      },
    ]);
    expect(asked[0]?.[0]).toBe(`${BASE}index.json`);
  });

  it("says where else an export's models are, also those that were here before", async () => {
    const mirrors = ["https://a.example/models/"];
    const models = [
      keptModel(`${BASE}index.json#old:latest`, "old"),
      keptModel("http://elsewhere/index.json#theirs:latest", "theirs"),
    ];
    const { made } = catalogue({ host: "layout", body: LAYOUT, mirrors, models });
    const sources = (await made.entries()).map(({ request }) => request.source);
    expect(sources).toMatchObject([
      { reference: "smollm2:latest", mirrors },
      { reference: "old:latest", mirrors },
      { reference: "theirs:latest" },
    ]);
    expect(sources[2]).not.toHaveProperty("mirrors");
  });

  it("tells of an export's models what their small files say", async () => {
    const blob = (digest: string, mediaType: string, size = 10) => ({ digest, mediaType, size });
    const files: Record<string, unknown> = {
      "index.json": {
        manifests: [
          { ...LAYOUT.manifests[0], digest: "sha256:ef", size: 100 },
          {
            digest: "sha256:no",
            annotations: { "org.opencontainers.image.ref.name": "gone:latest" },
          },
        ],
      },
      "blobs/sha256/ef": { manifests: [blob("sha256:b1", "m"), blob("sha256:b2", "m")] },
      "blobs/sha256/b1": {
        annotations: { "dev.transom.architecture": "llama" },
        config: blob("sha256:c1", MEDIA_TYPES.config),
        layers: [blob("sha256:t", MEDIA_TYPES.template), blob("sha256:s", "shard", 1000)],
      },
      // Another variant, with the same weights.
      "blobs/sha256/b2": {
        config: blob("sha256:c1", MEDIA_TYPES.config),
        layers: [blob("sha256:s", "shard", 1000)],
      },
      "blobs/sha256/c1": {
        quantization: "q4f16_1",
        context_window_size: 2048,
        model_config: { embedding_length: 576 },
      },
      "blobs/sha256/t": "{% if tools %}{{ tools }}{% endif %}",
    };
    const asked: string[] = [];
    const { made } = catalogue({
      host: "layout",
      fetch: (input) => {
        const path = (input as URL).href.slice(BASE.length);
        asked.push(path);
        const body = files[path];
        return Promise.resolve(
          body === undefined
            ? new Response(null, { status: 404 })
            : new Response(typeof body === "string" ? body : JSON.stringify(body)),
        );
      },
      now: () => asked.length * 10_000,
    });
    const [row, other] = (await made.entries()).map((entry) => entry.row);
    expect(row).toMatchObject({
      digest: "sha256:ef",
      bytes: 100 + 10 + 10 + 10 + 10 + 1000,
      details: {
        format: "webgpu",
        family: "llama",
        families: ["llama"],
        parameter_size: "",
        quantization_level: "q4f16_1",
        context_length: 2048,
        embedding_length: 576,
      },
      capabilities: ["completion", "tools"],
    });
    expect(other).toMatchObject({ name: "library/gone:latest", bytes: 0, details: {} });
    const before = asked.length;
    expect((await made.entries())[0]?.row).toEqual(row);
    // What could not be read is asked for again.
    expect(asked.slice(before)).toEqual(["index.json", "blobs/sha256/no"]);
  });

  it("knows what is stored, also without a host", async () => {
    const models = [
      keptModel(`${BASE}v2/library/smollm2/manifests/latest`, "smollm2"),
      keptModel("http://elsewhere/v2/library/smollm2/manifests/latest", "smollm2"),
      keptModel("imported:sha256:aa", "My Model (Q4)"),
      keptModel(`${BASE}demo/index.json`, "demo", 3),
    ];
    const online = await catalogue({ models }).made.find("SmolLM2");
    expect(online?.row).toMatchObject({ bytes: 900, isStored: true });
    const offline = await catalogue({ models, body: null }).made.entries();
    expect(offline.map(({ row }) => [row.name, row.isStored, row.created])).toEqual([
      ["library/smollm2:latest", true, 5],
      ["library/My-Model-Q4-:latest", true, 5],
      ["library/demo:latest", false, 5],
    ]);
    expect([online?.row.digest, offline[0]?.row.digest]).toEqual(["sha256:ab12", "sha256:1d"]);
    expect(offline[0]?.request.source).toMatchObject({ baseUrl: BASE });
  });

  it("loads what the address names as the address wants it", async () => {
    const named: LoadRequest = {
      source: { kind: "registry", baseUrl: BASE, repository: "me/new", reference: "latest" },
      overrides: { variant: "f32" },
      isForced: true,
      memoryBudgetBytes: 7,
    };
    const { made } = catalogue({ named, body: { models: [{ name: "me/new:latest" }] } });
    expect((await made.find("me/new"))?.request).toBe(named);
    expect(await made.entries()).toHaveLength(1);
    const other = await catalogue({ named, baseUrl: `${BASE}?model=me/new` }).made.find("smollm2");
    expect(other?.request).toEqual({
      source: {
        kind: "registry",
        baseUrl: BASE,
        repository: "library/smollm2",
        reference: "latest",
      },
      overrides: { variant: "f32" },
      memoryBudgetBytes: 7,
      isForced: false,
    });
  });

  it.each<[string, Parameters<typeof catalogue>[0]]>([
    ["a host that answers no", { status: 500 }],
    ["a host that answers something else", { body: "hello" }],
    ["storage that fails", { stored: () => Promise.reject(new Error("no")), body: {} }],
  ])("has no models from %s", async (_, options) => {
    expect(await catalogue(options).made.entries()).toEqual([]);
  });

  it("does not find what is no name", async () => {
    expect(await catalogue().made.find("../etc")).toBeNull();
    expect(await catalogue().made.find("smollm2@sha256:00")).toBeNull();
    expect(await catalogue().made.find("nobody")).toBeNull();
  });
});

describe("names", () => {
  it.each([
    ["smollm2", "library/smollm2:latest"],
    ["me/x:v1", "me/x:v1"],
    ["localhost/library/x", "library/x:latest"],
    ["host:80/me/x", "host:80/me/x:latest"],
    ["", null],
    ["a b", null],
    [".x", null],
  ])("%j is %j", (text, name) => {
    expect(wholeName(text)).toBe(name);
  });

  it.each([
    `${BASE}v2/me/x/manifests/v1`,
    `${BASE}index.json#smollm2:latest`,
    `${BASE}demo/index.json`,
    "imported:sha256:aa",
  ])("%s has a source and a name", (id) => {
    const source = sourceOf(id);
    expect(source).not.toBeNull();
    expect(source && nameOfSource(source, "shown")).toMatch(/^(me\/x:v1|library\/\w+:latest)$/);
  });
});
