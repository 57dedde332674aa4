/**
 * Reads a model that is all in this browser's storage, as a file picker brought it (`importing.ts`).
 * The network is never asked. Its id is the digest of its index.
 */
import { TransomError } from "../errors.ts";
import type { Keeping } from "./bundle.ts";
import type { BundleReader, Kept, Measured } from "./bundle-reader.ts";
import {
  type Descriptor,
  type FileDescriptor,
  type Index,
  type Manifest,
  parseIndex,
  parseManifest,
} from "./manifest.ts";
import type { ByteMeter } from "./progress.ts";
import type { ModelRecord } from "./shelf-records.ts";
import {
  type Digest,
  type Promised,
  type VerifiedBytes,
  type VerifiedFile,
  checkFile,
  isDigest,
  verifyBlob,
} from "./verify.ts";

const PREFIX = "imported:";

/** What the shelf calls an imported model. */
export function importedId(index: Digest): string {
  return PREFIX + index;
}

export class StoredBundle implements BundleReader {
  readonly name: string;
  readonly #keeping: Keeping;
  readonly #record: ModelRecord;
  readonly #index: Promised;
  readonly #meter: ByteMeter;

  private constructor(keeping: Keeping, record: ModelRecord, index: Promised, meter: ByteMeter) {
    this.name = record.name;
    this.#keeping = keeping;
    this.#record = record;
    this.#index = index;
    this.#meter = meter;
  }

  /** @throws TransomError `model-not-found` when it is not here (any more). */
  static async open(keeping: Keeping | null, id: string, meter: ByteMeter): Promise<StoredBundle> {
    const record = isDigest(id) ? await keeping?.shelf.useAgain(importedId(id)) : null;
    const index = record?.blobs.find(({ digest }) => digest === id);
    if (keeping === null || record === null || record === undefined || index === undefined) {
      throw new TransomError(
        "model-not-found",
        "This model is not in this browser's storage; import its file once more.",
      );
    }
    return new StoredBundle(keeping, record, index, meter);
  }

  async readIndex(): Promise<Index> {
    return parseIndex(await this.#read("the index", this.#index));
  }

  async readManifest(row: Descriptor): Promise<Manifest> {
    return parseManifest(await this.#read("the manifest", row));
  }

  async measure(files: readonly FileDescriptor[]): Promise<Measured> {
    const missingBytes = await this.#keeping.shelf.missingBytes(files);
    const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
    return {
      missingBytes,
      storedBytes: totalBytes - missingBytes,
      freeBytes: null,
      evictableBytes: 0,
    };
  }

  prepare(): Promise<Kept> {
    return Promise.resolve({ isKept: true, isOffline: false, removed: [] });
  }

  async readFile(file: FileDescriptor): Promise<VerifiedBytes> {
    const bytes = await this.#read(file.title, file);
    this.#meter.finished(file.title, { cached: file.size, downloaded: 0 });
    return bytes;
  }

  async openFile(file: FileDescriptor): Promise<VerifiedFile> {
    const kept = await this.#keeping.store.open(file.digest);
    if (kept === null) {
      throw this.#gone(file.title);
    }
    const checked = await checkFile(kept, file);
    if (checked === null) {
      throw new TransomError(
        "digest-mismatch",
        `${file.title} was damaged in this browser's storage; import the model once more.`,
      );
    }
    this.#meter.finished(file.title, { cached: file.size, downloaded: 0 });
    return checked;
  }

  /** It is on a disk already. */
  fetchAhead(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async #read(what: string, promised: Promised): Promise<VerifiedBytes> {
    const bytes = await this.#keeping.store.get(promised.digest);
    if (bytes === null) {
      throw this.#gone(what);
    }
    return verifyBlob(`${what} of ${this.#record.name}`, bytes, promised);
  }

  #gone(what: string): TransomError {
    return new TransomError(
      "model-not-found",
      `${what} of ${this.#record.name} is no longer in this browser's storage; ` +
        "import the model once more.",
    );
  }
}
