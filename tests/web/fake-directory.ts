/** A folder of the origin's private file system, in memory: the part of it that we use. */
export class FakeDirectory {
  readonly kind = "directory";
  readonly #entries = new Map<string, FakeDirectory | FakeFile>();

  /** What `navigator.storage` is to us. */
  get storage(): Pick<StorageManager, "getDirectory"> {
    return { getDirectory: () => Promise.resolve(this as unknown as FileSystemDirectoryHandle) };
  }

  getDirectoryHandle(name: string, options?: { create?: boolean }): Promise<FakeDirectory> {
    return this.#get(name, FakeDirectory, () => new FakeDirectory(), options);
  }

  getFileHandle(name: string, options?: { create?: boolean }): Promise<FakeFile> {
    return this.#get(name, FakeFile, () => new FakeFile(), options);
  }

  removeEntry(name: string): Promise<void> {
    return this.#entries.delete(name) ? Promise.resolve() : Promise.reject(notFound(name));
  }

  async *entries(): AsyncGenerator<[string, FakeDirectory | FakeFile]> {
    for (const entry of [...this.#entries]) {
      yield await Promise.resolve(entry);
    }
  }

  async #get<T extends FakeDirectory | FakeFile>(
    name: string,
    type: new () => T,
    make: () => T,
    { create = false } = {},
  ): Promise<T> {
    await Promise.resolve();
    const entry = this.#entries.get(name);
    if (entry instanceof type) {
      return entry;
    }
    if (entry !== undefined || !create) {
      throw notFound(name);
    }
    const made = make();
    this.#entries.set(name, made);
    return made;
  }
}

export class FakeFile {
  readonly kind = "file";
  content: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  lastModified = 0;

  getFile(): Promise<File> {
    const { content, lastModified } = this;
    return Promise.resolve(new File([content.slice()], "file", { lastModified }));
  }

  createWritable(): Promise<object> {
    const pieces: Uint8Array[] = [];
    return Promise.resolve({
      write: (bytes: Uint8Array) => {
        pieces.push(bytes.slice());
        return Promise.resolve();
      },
      close: () => {
        this.content = Uint8Array.from(pieces.flatMap((piece) => [...piece]));
        return Promise.resolve();
      },
      abort: () => Promise.resolve(),
    });
  }
}

function notFound(name: string): DOMException {
  return new DOMException(`${name} is not there`, "NotFoundError");
}
