/** What the models' room shows and what it can do. Types only. */
import type { ReadonlySignal } from "@preact/signals";

import type { Download } from "../../client/downloads.ts";
import type { Fitness, ModelCard, ModelFacts } from "../../client/model-cards.ts";
import type { PickedFile, Storage } from "../../protocol.ts";

/** Something that goes on elsewhere, or with a file of this device. */
export interface Task {
  id: number;
  kind: "pull" | "create" | "import" | "load";
  title: string;
  /** In the words of whoever does it; "" where the kind says enough. */
  step: string;
  /** "hash" and "send" of a file that goes to the server. */
  phase: "hash" | "send" | "work";
  doneBytes: number | null;
  totalBytes: number | null;
  /** Of the step it is at; 0 while nobody knows. */
  bytesPerSecond: number;
  secondsLeft: number | null;
  state: "running" | "failed" | "done";
  error: string | null;
  /** What there is to know of what came. */
  notes: readonly string[];
  /** It is the server that lets nobody change its models. */
  isRefused: boolean;
}

export interface ModelsState {
  host: "server" | "layout";
  /** Of the server or site, as people know it. */
  hostName: string;
  /** Null until they are known. */
  cards: ReadonlySignal<readonly ModelCard[] | null>;
  /** By name; what is asked for with `look`. */
  fits: ReadonlySignal<ReadonlyMap<string, Fitness>>;
  facts: ReadonlySignal<ReadonlyMap<string, ModelFacts>>;
  downloads: ReadonlySignal<readonly Download[]>;
  tasks: ReadonlySignal<readonly Task[]>;
  storage: ReadonlySignal<Storage | null>;
  /** The list of models could not be had. */
  error: ReadonlySignal<string | null>;
}

export interface ModelsActions {
  /** Ask again for all that shows. */
  refresh: () => Promise<void>;
  /** Somebody sees this model now: what is not known of it is asked for. */
  look: (card: ModelCard) => void;
  download: (card: ModelCard) => void;
  /** A bundle of this page's host, by its address. */
  downloadBundle: (url: string) => void;
  pause: (name: string) => void;
  resume: (name: string) => void;
  cancel: (name: string) => Promise<void>;
  clearDone: () => void;
  load: (card: ModelCard) => Promise<void>;
  unload: (card: ModelCard) => Promise<void>;
  pin: (id: string, isPinned: boolean) => Promise<void>;
  /** @returns the bytes that are free then. */
  remove: (id: string) => Promise<number>;
  /** @returns whether the browser promised it. */
  persist: () => Promise<boolean>;
  addressOf: (id: string) => string | null;
  /** Have the server fetch it. */
  pull: (model: string) => void;
  /** Have the server make a model of a file of this device, which is sent there. */
  create: (file: File, name: string) => void;
  /** Keep files of this device in this browser. @returns the names of what came. */
  bringIn: (files: readonly PickedFile[]) => Promise<readonly string[]>;
  stop: (id: number) => void;
  dismiss: (id: number) => void;
}

export interface Models {
  state: ModelsState;
  actions: ModelsActions;
}
