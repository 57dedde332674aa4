// @vitest-environment jsdom
/** The models' room as people meet it: names of what can be pressed, and what is said. */
import { signal } from "@preact/signals";
import axe from "axe-core";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { Download } from "../../../web/src/client/downloads.ts";
import type { Fitness, ModelCard, ModelFacts } from "../../../web/src/client/model-cards.ts";
import { speak } from "../../../web/src/page/i18n/words.ts";
import { ModelsRoom, type ModelsPart } from "../../../web/src/page/models/models-room.tsx";
import type { ModelsActions, Task } from "../../../web/src/page/models/models-types.ts";
import type { Storage, StoredModel } from "../../../web/src/protocol.ts";

const DAY_MS = 24 * 3_600_000;

// axe reads all of a page, in a browser made of JavaScript.
vi.setConfig({ testTimeout: 60_000 });

function keptModel(name: string, change: Partial<StoredModel> = {}): StoredModel {
  return {
    id: `http://host/v2/library/${name}/manifests/latest`,
    name,
    index: null,
    totalBytes: 107e6,
    storedBytes: 107e6,
    sharedBytes: 0,
    lastUsed: Date.now() - 50 * 3_600_000,
    isPinned: false,
    isInUse: false,
    ...change,
  };
}

function cardOf(title: string, change: Partial<ModelCard> = {}): ModelCard {
  const repository = `library/${title}`;
  return {
    name: `library/${title}:latest`,
    title,
    state: "offered",
    bytes: 98e6,
    parameters: "135M",
    quantization: "Q4_K_M",
    family: "llama",
    contextTokens: 8192,
    capabilities: ["completion"],
    license: "MIT",
    isOffered: true,
    stored: null,
    loadedBytes: null,
    speed: null,
    expectedSpeed: { browser: null, server: null },
    request: {
      source: { kind: "registry", baseUrl: "http://host/", repository, reference: "latest" },
      overrides: {},
    },
    ...change,
  };
}

const FIT: Fitness = {
  kind: "fits",
  fit: {
    variant: "f16",
    downloadBytes: 58e6,
    storedBytes: 40e6,
    storageFreeBytes: 1e9,
    gpuBytes: 310e6,
    budgetBytes: 1e9,
    budgetReason: "",
    problems: [],
  },
};

let cards: ModelCard[] = [];
const fits = signal<ReadonlyMap<string, Fitness>>(new Map());
const downloads = signal<readonly Download[]>([]);
const tasks = signal<readonly Task[]>([]);
const storage = signal<Storage | null>(null);
const actions = {
  refresh: vi.fn(() => Promise.resolve()),
  look: vi.fn(),
  download: vi.fn(),
  downloadBundle: vi.fn(),
  pause: vi.fn(),
  resume: vi.fn(),
  cancel: vi.fn(() => Promise.resolve()),
  clearDone: vi.fn(),
  load: vi.fn(() => Promise.resolve()),
  unload: vi.fn(() => Promise.resolve()),
  pin: vi.fn(() => Promise.resolve()),
  remove: vi.fn(() => Promise.resolve(72e6)),
  persist: vi.fn(() => Promise.resolve(false)),
  addressOf: (id: string) => (id.includes("pirate") ? null : "?model=x"),
  pull: vi.fn(),
  create: vi.fn(),
  bringIn: vi.fn(() => Promise.resolve(["tiny"])),
  stop: vi.fn(),
  dismiss: vi.fn(),
} satisfies ModelsActions;
const onChat = vi.fn();

function show(part: ModelsPart = "all", host: "server" | "layout" = "server"): void {
  void act(() => {
    render(
      <ModelsRoom
        state={{
          host,
          hostName: "host",
          cards: signal(cards),
          fits,
          facts: signal(new Map<string, ModelFacts>()),
          downloads,
          tasks,
          storage,
          error: signal(null),
        }}
        actions={actions}
        onChat={onChat}
        part={part}
      />,
      document.body,
    );
  });
}

/** By role and accessible name, as far as these pages need it. */
function button(name: string): HTMLButtonElement {
  const all = [...document.querySelectorAll("button")];
  const found = all.find(
    (each) => (each.getAttribute("aria-label") ?? each.textContent).trim() === name,
  );
  if (found === undefined) {
    throw new Error(`no button "${name}": ${all.map((each) => each.textContent).join(", ")}`);
  }
  return found;
}

async function press(name: string): Promise<void> {
  await act(async () => {
    button(name).click();
    await Promise.resolve();
  });
}

async function type(id: string, text: string): Promise<void> {
  const input = document.getElementById(id) as HTMLInputElement;
  await act(async () => {
    input.value = text;
    input.dispatchEvent(new Event("input", { bubbles: true }));
    await Promise.resolve();
  });
}

const text = () => document.body.textContent.replaceAll("\u00a0", " ");

async function isAccessible(): Promise<void> {
  const { violations } = await axe.run(document.body, {
    // jsdom draws nothing; a screen of the app has its landmarks around this.
    rules: { "color-contrast": { enabled: false }, region: { enabled: false } },
  });
  expect(violations.map(({ id, nodes }) => `${id}: ${nodes[0]?.html ?? ""}`)).toEqual([]);
}

beforeEach(() => {
  cards = [cardOf("smollm2"), cardOf("pirate", { capabilities: ["embedding"], license: "" })];
  fits.value = new Map([["library/smollm2:latest", FIT]]);
  downloads.value = [];
  tasks.value = [];
  storage.value = { models: [], quotaBytes: 60e9, usedBytes: 215e6, isPersisted: false };
  vi.clearAllMocks();
});

afterEach(async () => {
  render(null, document.body);
  await speak("en");
});

describe("the catalogue", () => {
  it("says of each model what it is, where it runs and why", async () => {
    show();
    expect(text()).toContain("98.0 MB, 40.0 MB of it is here already");
    expect(text()).toContain("This browser, graphics adapter");
    expect(text()).toContain("Takes about 310 MB of graphics memory; about 1.0 GB are there.");
    expect(text()).toContain("In f16");
    expect(text()).toContain("The server, hostruns");
    expect(text()).toContain("Not measured yet");
    expect(text()).toContain("None stated");
    // What nobody has asked for yet is asked for by who sees it.
    expect(actions.look).toHaveBeenCalledTimes(2);
    expect(text()).toContain("Looking at whether it fits this device");
    await isAccessible();
  });

  it("finds models by what they are", async () => {
    show();
    await type("models-search", "embedding");
    expect(document.querySelectorAll(".model-card")).toHaveLength(1);
    expect(text()).toContain("1 model");
    await type("models-search", "nothing of the kind");
    expect(text()).toContain("No model matches these words.");
  });

  it("offers what can be done with it now", async () => {
    const stored = keptModel("smollm2", { sharedBytes: 35e6 });
    cards = [
      cardOf("smollm2", { state: "loaded", stored, loadedBytes: 310e6 }),
      cardOf("pirate", { capabilities: ["embedding"] }),
    ];
    show();
    await press("Chat with smollm2");
    expect(onChat).toHaveBeenCalledWith(cards[0], "?model=x");
    await press("Unload smollm2");
    expect(actions.unload).toHaveBeenCalled();
    await press("Keep smollm2 when room is made for others");
    expect(actions.pin).toHaveBeenCalledWith(stored.id, true);
    await press("Download pirate");
    expect(actions.download).toHaveBeenCalledWith(cards[1]);
    expect(text()).not.toContain("Chat with pirate");
    // It says what is really freed.
    await press("Delete smollm2");
    expect(text()).toContain("35.0 MB stay, because other models need them.");
    await press("Delete\u00a072.0\u00a0MB".replace("\u00a0", " "));
    expect(actions.remove).toHaveBeenCalledWith(stored.id);
    expect(text()).toContain("smollm2 is deleted; 72.0 MB are free.");
  });

  it("shows the same in other languages, and their direction", async () => {
    await speak("de");
    show();
    expect(text()).toContain("Noch nicht gemessen");
    await act(() => speak("ar"));
    expect(document.documentElement.dir).toBe("rtl");
    expect(text()).toContain("لم تُقَس بعد");
  });
});

describe("work in progress", () => {
  it("says how far each is, and what can be done", async () => {
    const request = cardOf("smollm2").request;
    const entry = (name: string, change: Partial<Download>): Download => ({
      name: `library/${name}:latest`,
      request,
      state: "waiting",
      progress: null,
      error: null,
      ...change,
    });
    downloads.value = [
      entry("a", {
        state: "running",
        progress: {
          phase: "weights",
          file: null,
          doneBytes: 40e6,
          totalBytes: 98e6,
          bytesFromCache: 0,
          bytesDownloaded: 40e6,
          bytesPerSecond: 4e6,
          secondsLeft: 75,
          pipelineFraction: 1,
          fit: null,
        },
      }),
      entry("b", {}),
      entry("c", { state: "failed", error: "HTTP 503." }),
    ];
    tasks.value = [
      {
        id: 4,
        kind: "pull",
        title: "me/far",
        step: "",
        phase: "work",
        doneBytes: null,
        totalBytes: null,
        bytesPerSecond: 0,
        secondsLeft: null,
        state: "failed",
        error: "Denied.",
        notes: [],
        isRefused: true,
      },
    ];
    show();
    expect(text()).toContain("40.0 MB of 98.0 MB · 4.0 MB/s, 1 min 15 s left");
    expect(text()).toContain("Waits for its turn");
    expect(text()).toContain("HTTP 503.");
    expect(text()).toContain("This server lets nobody change its models from here.");
    await press("Pause the download of a");
    await press("Cancel the download of b");
    await press("Try the download of c again");
    await press("Dismiss: me/far");
    expect(actions.pause).toHaveBeenCalledWith("library/a:latest");
    expect(actions.cancel).toHaveBeenCalledWith("library/b:latest");
    expect(actions.resume).toHaveBeenCalledWith("library/c:latest");
    expect(actions.dismiss).toHaveBeenCalledWith(4);
    await isAccessible();
  });
});

describe("adding a model", () => {
  const submit = async () => {
    await act(async () => {
      document
        .querySelector(".pull-form")
        ?.dispatchEvent(new Event("submit", { bubbles: true, cancelable: true }));
      await Promise.resolve();
    });
  };

  it("has the server fetch what is a name, and says what is none", async () => {
    show("add");
    await type("pull-name", "not a name");
    await submit();
    expect(text()).toContain("This is no name of a model.");
    expect(document.getElementById("pull-name")?.getAttribute("aria-invalid")).toBe("true");
    expect(document.activeElement?.id).toBe("pull-name");
    await type("pull-name", "hf.co/org/model");
    expect(text()).toContain("Asks hf.co for org/model.");
    await submit();
    expect(actions.pull).toHaveBeenCalledWith("hf.co/org/model");
    await isAccessible();
  });

  it("says without a server what is possible", async () => {
    show("add", "layout");
    expect(text()).toContain("This page has no server that could fetch models");
    await type("pull-name", "hf.co/org/model");
    await submit();
    expect(text()).toContain("Download the file yourself, then import it below.");
    await type("pull-name", new URL("demo/", document.baseURI).href);
    await submit();
    expect(actions.downloadBundle).toHaveBeenCalledWith(new URL("demo/", document.baseURI).href);
  });

  const choose = async (id: string, ...files: File[]) => {
    const input = document.getElementById(id) as HTMLInputElement;
    Object.defineProperty(input, "files", { value: files, configurable: true });
    await act(async () => {
      input.dispatchEvent(new Event("change", { bubbles: true }));
      await Promise.resolve();
    });
  };

  it("asks what to do with a GGUF before anything leaves this device", async () => {
    show("add");
    const file = new File(["GGUF"], "Tiny Model.gguf");
    await choose("add-file", file);
    expect(text()).toContain("The file leaves this device.");
    expect(actions.create).not.toHaveBeenCalled();
    expect(actions.bringIn).not.toHaveBeenCalled();
    await type("file-name", "no name");
    await press("Send and make");
    expect(text()).toContain("This is no name of a model.");
    await type("file-name", "me/tiny:v1");
    await isAccessible();
    await press("Send and make");
    expect(actions.create).toHaveBeenCalledWith(file, "me/tiny:v1");
  });

  it("keeps a file here where there is no server", async () => {
    show("add", "layout");
    const file = new File(["GGUF"], "tiny.gguf");
    await choose("add-file", file);
    expect(actions.bringIn).toHaveBeenCalledWith([{ path: "tiny.gguf", content: file }]);
    expect(text()).toContain("tiny: here now.");
  });
});

describe("the storage", () => {
  it("says what there is, who goes first, and what stays", async () => {
    storage.value = {
      models: [
        keptModel("tiny", { isPinned: true, sharedBytes: 35e6 }),
        keptModel("pirate", { lastUsed: Date.now() - 3 * DAY_MS }),
        keptModel("coming", { storedBytes: 40e6, lastUsed: Date.now() }),
        keptModel("loading", { isInUse: true }),
      ],
      quotaBytes: 60e9,
      usedBytes: 215e6,
      isPersisted: false,
    };
    cards = [cardOf("coming", { state: "partial" })];
    show("storage");
    const summary = document.getElementById("storage-summary")?.textContent;
    expect(summary?.replaceAll("\u00a0", " ")).toBe(
      "4 models are kept in this browser. 215 MB of 60.0 GB are in use. " +
        "The browser may remove models when the disk is full.",
    );
    const rows = [...document.querySelectorAll("#storage-models li")].map((row) =>
      row.textContent.replaceAll("\u00a0", " "),
    );
    expect(rows[0]).toContain("107 MB, 35.0 MB of it shared · used 2 days ago · stays");
    expect(rows[1]).toContain("used 3 days ago · goes first when room is needed");
    expect(rows[2]).toContain("incomplete: 40.0 MB of 107 MB");
    expect(rows[2]).toContain("goes as number 2");
    expect(rows[3]).toContain("being loaded · stays");
    expect(button("Delete loading").disabled).toBe(true);
    expect(document.querySelector("a.stored-name")?.getAttribute("href")).toBe("?model=x");
    await press("Resume the download of coming");
    expect(actions.download).toHaveBeenCalledWith(cards[0]);
    await press("Keep models");
    expect(text()).toContain("The browser decides by itself");
    await isAccessible();
  });

  it("asks once more in place, and the keyboard stays where it was", async () => {
    storage.value = {
      models: [keptModel("tiny")],
      quotaBytes: null,
      usedBytes: null,
      isPersisted: true,
    };
    show("storage");
    await press("Delete tiny");
    const cancel = button("Cancel");
    expect(document.activeElement).toBe(cancel);
    await act(async () => {
      cancel.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape", bubbles: true }));
      await Promise.resolve();
    });
    expect(document.activeElement).toBe(button("Delete tiny"));
    actions.remove.mockRejectedValueOnce(new Error("tiny is being loaded"));
    await press("Delete tiny");
    await press("Delete 107\u00a0MB");
    expect(text()).toContain("tiny is being loaded");
    expect(button("Delete tiny").disabled).toBe(false);
  });
});
