/**
 * What the models' room shows and does: most of it from the engine, the catalogue and the server, so
 * that whoever places the room has little to wire.
 */
import { type ReadonlySignal, computed, signal } from "@preact/signals";

import { AskedFacts } from "../../client/asked-facts.ts";
import { type Catalogue, type Entry, isSameSource, sourceOf } from "../../client/catalogue.ts";
import { type Download, Downloads, isAborted } from "../../client/downloads.ts";
import type { EngineClient, Import } from "../../client/engine-client.ts";
import {
  type Fitness,
  type ModelFacts,
  type Speeds,
  cardsOf,
  titleOf,
} from "../../client/model-cards.ts";
import { isSameName, nameOfSource, wholeName } from "../../client/model-name.ts";
import { ServerModels, WriteRefused } from "../../client/server-models.ts";
import type { SteadyEngine } from "../../client/steady-engine.ts";
import { TransomError, describe, toWireError } from "../../errors.ts";
import type { BundleSource, LoadProgress, LoadRequest, Storage } from "../../protocol.ts";
import { words } from "../i18n/words.ts";
import { askToKeep } from "../keeping.ts";
import { makeOnServer } from "./making.ts";
import type { Models, ModelsActions, Task } from "./models-types.ts";
import { type Settings, uploadsIn } from "./settings.ts";
import { TaskPace } from "./task-pace.ts";

const DOWNLOADS_SETTING = "models.downloads";
/** All tabs of the origin: two that bring the same model in would write the same pieces. */
const DOWNLOAD_LOCK = "transom-download ";

export interface ModelsOptions {
  engine: Pick<SteadyEngine<EngineClient>, "load" | "download" | "loaded" | "unload" | "current">;
  catalogue: Pick<Catalogue, "entries" | "refresh">;
  /** Of the page. */
  baseUrl: string;
  host: "server" | "layout";
  settings: Settings;
  /** `readSpeeds` of what `withSpeed` made of answers. */
  speeds: ReadonlySignal<Speeds>;
  /** Where a stored model is loaded, null where this page cannot. */
  addressOf: (id: string) => string | null;
  /** Where another tab leads, models are loaded by it; this page's engine if left out. */
  load?: (request: LoadRequest, onProgress: (progress: LoadProgress) => void) => Promise<unknown>;
  server?: ServerModels;
}

/** Ready at once; downloads that an earlier page left go on by themselves. */
export function createModels(options: ModelsOptions): Models {
  const { engine, catalogue, baseUrl, settings } = options;
  const server = options.server ?? new ServerModels({ baseUrl, uploads: uploadsIn(settings) });
  const entries = signal<readonly Entry[] | null>(null);
  const storage = signal<Storage | null>(null);
  const loaded = signal([...engine.loaded.values()]);
  const error = signal<string | null>(null);
  const fits = signal<ReadonlyMap<string, Fitness>>(new Map());
  const facts = signal<ReadonlyMap<string, ModelFacts>>(new Map());
  const list = signal<readonly Download[]>([]);
  const tasks = signal<readonly Task[]>([]);
  const stops = new Map<number, () => void>();
  let lastTask = 0;
  let lastAsking = 0;

  const cards = computed(() =>
    entries.value === null
      ? null
      : cardsOf({
          entries: entries.value,
          stored: storage.value?.models ?? [],
          loaded: loaded.value,
          facts: facts.value,
          speeds: options.speeds.value,
        }),
  );
  const requests = new Map<string, LoadRequest>();
  const askedFits = new AskedFacts<Fitness>(
    async (name) => {
      const request = requests.get(name);
      if (request === undefined) {
        throw new TransomError("internal", `Nobody said how ${name} is loaded.`);
      }
      try {
        return { kind: "fits", fit: await engine.current.fit(request) };
      } catch (refusal) {
        const { code, message } = toWireError(refusal);
        if (code === "network") {
          throw refusal;
        }
        return { kind: "refused", code, message };
      }
    },
    (all) => {
      fits.value = all;
    },
  );
  const askedFacts = new AskedFacts<ModelFacts>(
    (name) => server.show(name),
    (all) => {
      facts.value = all;
    },
  );

  async function refresh(): Promise<void> {
    const asking = ++lastAsking;
    catalogue.refresh();
    try {
      const found = await Promise.all([catalogue.entries(), engine.current.stored()]);
      if (asking !== lastAsking) {
        // Who asked later hears what is newer, whichever answer comes first.
        return;
      }
      [entries.value, storage.value] = found;
      error.value = null;
    } catch (failure) {
      error.value = describe(failure);
      entries.value ??= [];
    }
    loaded.value = [...engine.loaded.values()];
  }

  /** What is here of models is another thing now, and with it what is to come of others. */
  async function changed(): Promise<void> {
    askedFits.again();
    await refresh();
  }

  const downloads = new Downloads({
    bring: ({ name, request }, onProgress, signal) =>
      alone(name, signal, () => engine.download(request, onProgress, signal)),
    discard: async ({ request }) => {
      const { models } = await engine.current.stored();
      const partial = models.find(
        ({ id, storedBytes, totalBytes }) =>
          storedBytes < totalBytes && isSameSource(sourceOf(id), request.source),
      );
      if (partial !== undefined) {
        await engine.current.remove(partial.id, true);
      }
      await changed();
    },
    keep: (kept) => {
      settings.set(DOWNLOADS_SETTING, kept).catch(() => undefined);
    },
    onChange: (now) => {
      const before = list.value;
      list.value = now;
      // What has come of one that was paused is here, and shows.
      if (now.some(({ name, state }) => state === "paused" && stateIn(before, name) !== state)) {
        void refresh();
      }
    },
    onDone: () => {
      void changed();
    },
  });
  globalThis.addEventListener("online", () => {
    downloads.reconnect();
  });
  settings.get(DOWNLOADS_SETTING).then(
    (kept) => {
      downloads.restore(kept);
    },
    () => undefined,
  );

  function change(id: number, what: Partial<Task>): void {
    tasks.value = tasks.value.map((task) => (task.id === id ? { ...task, ...what } : task));
  }

  /** @param work is told how to say where it is. */
  async function run<T>(
    kind: Task["kind"],
    title: string,
    work: (tell: (what: Partial<Task>) => void, signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const id = ++lastTask;
    const controller = new AbortController();
    stops.set(id, () => {
      controller.abort(new TransomError("aborted", "Stopped."));
    });
    tasks.value = [
      ...tasks.value,
      {
        id,
        kind,
        title,
        step: "",
        phase: "work",
        doneBytes: null,
        totalBytes: null,
        bytesPerSecond: 0,
        secondsLeft: null,
        state: "running",
        error: null,
        notes: [],
        isRefused: false,
      },
    ];
    try {
      const pace = new TaskPace();
      const result = await work((what) => {
        change(id, { ...what, ...pace.after(what) });
      }, controller.signal);
      change(id, { state: "done", step: "" });
      return result;
    } catch (failure) {
      if (isAborted(failure) || controller.signal.aborted) {
        tasks.value = tasks.value.filter((task) => task.id !== id);
      } else {
        const isRefused = failure instanceof WriteRefused;
        change(id, { state: "failed", error: describe(failure), isRefused });
      }
      throw failure;
    } finally {
      stops.delete(id);
      await changed();
    }
  }

  const load =
    options.load ??
    ((request: LoadRequest, onProgress: (progress: LoadProgress) => void) =>
      engine.load(request, onProgress));

  const actions: ModelsActions = {
    refresh,
    look: (card) => {
      requests.set(card.name, card.request);
      askedFits.want(card.name);
      if (options.host === "server" && card.isOffered) {
        askedFacts.want(card.name);
      }
    },
    download: ({ name, request }) => {
      downloads.add(name, request);
    },
    downloadBundle: (url) => {
      const source: BundleSource = { kind: "folder", baseUrl: url };
      downloads.add(nameOfSource(source, null) ?? url, { source, overrides: {} });
    },
    pause: (name) => {
      downloads.pause(name);
    },
    resume: (name) => {
      downloads.resume(name);
    },
    cancel: (name) => downloads.cancel(name),
    clearDone: () => {
      downloads.clear();
      tasks.value = tasks.value.filter(({ state }) => state !== "done");
    },
    load: (card) =>
      run("load", card.title, async (tell) => {
        await load(card.request, ({ doneBytes, totalBytes }) => {
          tell({ doneBytes, totalBytes });
        });
      }),
    unload: async (card) => {
      const { source } = card.request;
      for (const [name, { request }] of engine.loaded) {
        if (isSameSource(request.source, source)) {
          await engine.unload(name);
        }
      }
      await refresh();
    },
    pin: async (id, isPinned) => {
      await engine.current.pin(id, isPinned);
      await refresh();
    },
    remove: async (id) => {
      const freed = await engine.current.remove(id);
      await changed();
      return freed;
    },
    persist: async () => {
      const isPersisted = await navigator.storage.persist();
      await refresh();
      return isPersisted;
    },
    addressOf: options.addressOf,
    pull: (model) => {
      run("pull", titleOf(wholeName(model) ?? model), async (tell, signal) => {
        await server.pull(
          model,
          ({ text, doneBytes, totalBytes }) => {
            tell({ step: text, doneBytes, totalBytes });
          },
          signal,
        );
        const local = nameHere(model);
        if (local === null) {
          return;
        }
        // Only what has a name of this server's own can be loaded in a browser.
        catalogue.refresh();
        const names = (await catalogue.entries()).map(({ row }) => row.name);
        if (names.some((name) => isSameName(name, local))) {
          tell({ notes: [words.value.models.nameTaken(titleOf(local), model)] });
        } else {
          await server.copy(model, local);
        }
      }).catch(told);
    },
    create: (file, name) => {
      run("create", name, (tell, signal) =>
        makeOnServer({ engine: engine.current, server, file, name, tell, signal }),
      ).catch(told);
    },
    bringIn: async (files) => {
      askToKeep();
      const [first] = files;
      const title = first?.path.split("/")[0] ?? "";
      const imported = await run("import", title, (tell, signal) => {
        const running: Import = engine.current.import({ files }, (progress) => {
          const { file, doneBytes, totalBytes } = progress;
          tell({ step: file, doneBytes, totalBytes });
        });
        signal.addEventListener("abort", () => {
          running.abort();
        });
        return running.done;
      });
      return imported.map(({ name }) => name);
    },
    stop: (id) => {
      stops.get(id)?.();
    },
    dismiss: (id) => {
      tasks.value = tasks.value.filter((task) => task.id !== id);
    },
  };
  return {
    state: {
      host: options.host,
      hostName: new URL(baseUrl).host,
      cards,
      fits,
      facts,
      downloads: list,
      tasks,
      storage,
      error,
    },
    actions,
  };
}

function stateIn(list: readonly Download[], name: string): Download["state"] | null {
  return list.find((each) => each.name === name)?.state ?? null;
}

/** Other tabs wait, and then find that all is here. */
function alone<T>(name: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
  return navigator.locks.request(DOWNLOAD_LOCK + name, { signal }, work);
}

/** What a model of another registry is called at this server; null: the same, or it is no name. */
function nameHere(model: string): string | null {
  const plain = model.replace(/@sha256:[0-9a-f]{64}$/, "");
  const whole = plain.includes("://") ? null : wholeName(plain);
  const parts = whole?.split("/") ?? [];
  return parts.length === 3 ? parts.slice(1).join("/") : null;
}

/** A task's failure is in its row already. */
function told(): void {
  // Nothing more to say.
}
