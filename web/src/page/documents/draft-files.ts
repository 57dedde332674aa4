/** Files on their way into a question: each is read, kept, and then ready; or it says why not. */
import { type ReadonlySignal, computed, signal } from "@preact/signals";

import type { Attachment } from "../../chat/types.ts";
import { type Attached, attachFile } from "../../documents/attach.ts";

/** More than a context window ever takes; each of them is read, one after the other. */
export const MOST_FILES = 20;

export interface DraftFile {
  /** Of this row of the list, whatever becomes of it. */
  key: string;
  name: string;
  state: DraftFileState;
}

export type DraftFileState =
  /** `done` from 0 to 1; null: nobody tells. */
  | { kind: "reading"; done: number | null }
  /** `image`: as it is sent; null of documents. */
  | { kind: "ready"; attachment: Attachment; image: Blob | null }
  | { kind: "failed"; error: unknown };

export interface DraftFilesOptions {
  /** Puts what was read into storage. */
  keep: (attached: Attached) => Promise<void>;
  /** It is not wanted any more. */
  release: (sha256: string) => Promise<void>;
  /** Hexadecimal sha256. */
  digest: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>;
  /** Reads a file; `attachFile` unless a test says otherwise. */
  attach?: typeof attachFile;
}

export class DraftFiles {
  readonly #files = signal<readonly DraftFile[]>([]);
  readonly #isOverfull = signal(false);
  readonly #options: DraftFilesOptions;
  readonly #readers = new Map<string, AbortController>();
  /** One file at a time: two large ones together may be more than a phone holds. */
  #line: Promise<void> = Promise.resolve();
  #count = 0;

  readonly files: ReadonlySignal<readonly DraftFile[]> = this.#files;
  /** Somebody brought more than `MOST_FILES`, and the rest was left out. */
  readonly isOverfull: ReadonlySignal<boolean> = this.#isOverfull;
  /** Nothing can be sent yet. */
  readonly isReading = computed(() =>
    this.#files.value.some(({ state }) => state.kind === "reading"),
  );
  /** What goes with the question. */
  readonly attachments = computed(() =>
    this.#files.value.flatMap(({ state }) => (state.kind === "ready" ? [state.attachment] : [])),
  );
  readonly hasImages = computed(() => this.attachments.value.some(({ kind }) => kind === "image"));

  constructor(options: DraftFilesOptions) {
    this.#options = options;
  }

  /** Resolves when all of them are read, or have said why not. */
  add = (files: Iterable<File>): Promise<void> => {
    const wanted = [...files];
    const room = MOST_FILES - this.#files.value.length;
    this.#isOverfull.value = wanted.length > room;
    for (const file of wanted.slice(0, Math.max(0, room))) {
      const key = `${(this.#count += 1)}`;
      const controller = new AbortController();
      this.#readers.set(key, controller);
      this.#files.value = [
        ...this.#files.value,
        { key, name: file.name, state: { kind: "reading", done: null } },
      ];
      this.#line = this.#line.then(() => this.#read(key, file, controller.signal));
    }
    return this.#line;
  };

  /** Takes one away, also one that is being read. */
  remove = (key: string): void => {
    const gone = this.#files.value.find((file) => file.key === key);
    this.#readers.get(key)?.abort();
    this.#readers.delete(key);
    this.#isOverfull.value = false;
    this.#files.value = this.#files.value.filter((file) => file !== gone);
    if (gone?.state.kind === "ready") {
      void this.#release(gone.state.attachment.sha256);
    }
  };

  /** What goes with a question that is sent now; the list is empty afterwards. */
  take(): readonly Attachment[] {
    const taken = this.attachments.value;
    this.#forget();
    return taken;
  }

  /** All of them are unwanted. */
  clear(): void {
    for (const { key } of this.#files.value) {
      this.remove(key);
    }
  }

  #forget(): void {
    for (const controller of this.#readers.values()) {
      controller.abort();
    }
    this.#readers.clear();
    this.#files.value = [];
    this.#isOverfull.value = false;
  }

  async #read(key: string, file: File, signal: AbortSignal): Promise<void> {
    const { attach = attachFile, digest, keep } = this.#options;
    const isUnwanted = () => signal.aborted;
    if (isUnwanted()) {
      return;
    }
    try {
      const attached = await attach(file, digest, {
        signal,
        onProgress: (done) => {
          this.#become(key, { kind: "reading", done });
        },
      });
      await keep(attached);
      if (isUnwanted()) {
        await this.#release(attached.attachment.sha256);
        return;
      }
      const { attachment } = attached;
      this.#become(key, {
        kind: "ready",
        attachment,
        image: attachment.kind === "image" ? attached.blob : null,
      });
    } catch (error) {
      if (!isUnwanted()) {
        this.#become(key, { kind: "failed", error });
      }
    } finally {
      this.#readers.delete(key);
    }
  }

  /** Unless it stands here a second time. */
  async #release(sha256: string): Promise<void> {
    if (!this.attachments.value.some((each) => each.sha256 === sha256)) {
      await this.#options.release(sha256);
    }
  }

  #become(key: string, state: DraftFileState): void {
    this.#files.value = this.#files.value.map((file) =>
      file.key === key
        ? { ...file, state, name: state.kind === "ready" ? state.attachment.name : file.name }
        : file,
    );
  }
}
