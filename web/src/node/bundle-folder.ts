/** A bundle in a folder, as `transom compile` writes it; every byte is verified as in the page. */
import { open, readdir } from "node:fs/promises";
import { basename, join, resolve } from "node:path";

import { TransomError } from "../errors.ts";
import type { BundleReader, Kept, Measured } from "../store/bundle-reader.ts";
import {
  type Descriptor,
  type FileDescriptor,
  type Index,
  type Manifest,
  parseIndex,
  parseManifest,
} from "../store/manifest.ts";
import type { ByteMeter } from "../store/progress.ts";
import {
  type Bytes,
  type VerifiedBytes,
  type VerifiedFile,
  digestOf,
  fileOf,
  verifyBlob,
} from "../store/verify.ts";

export class BundleFolder implements BundleReader {
  readonly name: string;
  readonly #folder: string;
  readonly #meter: ByteMeter;

  constructor(folder: string, meter: ByteMeter) {
    this.name = basename(resolve(folder));
    this.#folder = folder;
    this.#meter = meter;
  }

  async readIndex(): Promise<Index> {
    return parseIndex(await this.#read("index.json"));
  }

  /** Manifests are named for people; the digest says which one is meant. */
  async readManifest(row: Descriptor): Promise<Manifest> {
    for (const name of await readdir(join(this.#folder, "manifests"))) {
      const bytes = await this.#read(join("manifests", name));
      if ((await digestOf(bytes)) === row.digest) {
        return parseManifest(await verifyBlob(name, bytes, row));
      }
    }
    throw new TransomError("invalid-bundle", `manifests/ holds no manifest ${row.digest}.`);
  }

  async readFile(file: FileDescriptor): Promise<VerifiedBytes> {
    const bytes = await verifyBlob(file.title, await this.#read(file.title), file);
    this.#meter.finished(file.title, { cached: file.size, downloaded: 0 });
    return bytes;
  }

  measure(files: readonly FileDescriptor[]): Promise<Measured> {
    const storedBytes = files.reduce((sum, { size }) => sum + size, 0);
    return Promise.resolve({ storedBytes, missingBytes: 0, freeBytes: null, evictableBytes: 0 });
  }

  async openFile(file: FileDescriptor): Promise<VerifiedFile> {
    return fileOf(await this.readFile(file));
  }

  /** It is on a disk already. */
  prepare(): Promise<Kept> {
    return Promise.resolve({ isKept: true, isOffline: false, removed: [] });
  }

  fetchAhead(): Promise<boolean> {
    return Promise.resolve(true);
  }

  /** In one read where the system gives it: `readFile` comes back for every half megabyte. */
  async #read(path: string): Promise<Bytes> {
    const file = await open(join(this.#folder, path));
    try {
      const bytes: Bytes = new Uint8Array((await file.stat()).size);
      for (let at = 0; at < bytes.byteLength;) {
        const { bytesRead } = await file.read(bytes, at);
        if (bytesRead === 0) {
          throw new TransomError("invalid-bundle", `${path} became shorter while it was read.`);
        }
        at += bytesRead;
      }
      return bytes;
    } finally {
      await file.close();
    }
  }
}
