/**
 * Reads a bundle: index, one manifest, and its files, each verified before anyone sees it.
 *
 * `openBundle` is for the network with a blob store in front. Node has its own `BundleReader` over
 * a folder; whoever loads a model cannot tell the difference.
 */
import { TransomError } from "../errors.ts";
import { type DownloadOptions, downloadDocument, downloadFile } from "./download.ts";
import type { Location } from "./location.ts";
import {
  type Descriptor,
  type FileDescriptor,
  type Index,
  MAX_MANIFEST_BYTES,
  type Manifest,
  REF_NAME,
  parseIndex,
  parseManifest,
} from "./manifest.ts";
import type { ByteMeter } from "./progress.ts";
import type { BlobStore } from "./store.ts";
import {
  type Bytes,
  type VerifiedBytes,
  checkDigest,
  digestMismatch,
  verifyBlob,
} from "./verify.ts";

export interface BundleReader {
  readonly name: string;
  readIndex(): Promise<Index>;
  readManifest(row: Descriptor): Promise<Manifest>;
  readFile(file: FileDescriptor): Promise<VerifiedBytes>;
}

export interface OpenOptions extends Pick<DownloadOptions, "fetch" | "pause" | "signal"> {
  store: BlobStore | null;
  meter: ByteMeter;
  /** Called whenever the meter has moved. */
  onProgress?: (file: string | null) => void;
}

export function openBundle(location: Location, options: OpenOptions): BundleReader {
  return new HttpBundle(location, options);
}

class HttpBundle implements BundleReader {
  readonly name: string;
  readonly #location: Location;
  readonly #options: OpenOptions;
  #store: BlobStore | null;

  constructor(location: Location, options: OpenOptions) {
    this.name = location.name;
    this.#location = location;
    this.#options = options;
    this.#store = options.store;
  }

  async readIndex(): Promise<Index> {
    // A tag moves: always ask the server, which answers 304 when nothing changed.
    const { indexUrl: url, reference } = this.#location;
    try {
      const index = parseIndex(await this.#document(`model ${this.name}`, url, "no-cache"));
      return reference === null ? index : await this.#indexInLayout(index, reference);
    } catch (error) {
      if (error instanceof TransomError && error.code === "model-not-found") {
        throw new TransomError(
          "model-not-found",
          `There is no model named ${this.name} here. Compile one with ` +
            `"transom compile FILE.gguf --name ${this.name}".`,
          { cause: error },
        );
      }
      throw error;
    }
  }

  /** A layout's own index has a row for each model; that row names the model's index by digest. */
  async #indexInLayout(layout: Index, reference: string): Promise<Index> {
    const row = layout.manifests.find(({ annotations }) => annotations.get(REF_NAME) === reference);
    if (row === undefined) {
      throw new TransomError("model-not-found", `${this.name} is not in the layout's index.`);
    }
    const cached = await this.#fromStore(row);
    if (cached !== null) {
      return parseIndex(cached);
    }
    const url = this.#location.manifestUrl(row);
    const bytes = await this.#document(`model ${this.name}`, url, "default");
    const index = await verifyBlob(`the index of ${this.name}`, bytes, row);
    await this.#keep(row, index);
    return parseIndex(index);
  }

  async readManifest(row: Descriptor): Promise<Manifest> {
    const name = "the model's manifest";
    const cached = await this.#fromStore(row);
    if (cached !== null) {
      return parseManifest(cached);
    }
    const bytes = await this.#document(name, this.#location.manifestUrl(row), "default");
    const manifest = await verifyBlob(name, bytes, row);
    await this.#keep(row, manifest);
    return parseManifest(manifest);
  }

  /**
   * Bytes from the store are hashed again: it costs a tenth of a second per 100 MB, and a disk
   * that rots or another script of this origin must not reach the GPU.
   */
  async readFile(file: FileDescriptor): Promise<VerifiedBytes> {
    const { meter, onProgress } = this.#options;
    const cached = await this.#fromStore(file);
    if (cached !== null) {
      meter.cached(file.size);
      onProgress?.(file.title);
      return cached;
    }
    const bytes = await this.#fetchVerified(file);
    meter.downloaded(file.title, file.size);
    onProgress?.(file.title);
    await this.#keep(file, bytes);
    return bytes;
  }

  /** Download and verify; a mismatch is asked for once more, past all caches, then is an error. */
  async #fetchVerified(file: FileDescriptor): Promise<VerifiedBytes> {
    const first = await checkDigest(await this.#fetch(file, "default"), file);
    if (first.ok) {
      return first.bytes;
    }
    const second = await checkDigest(await this.#fetch(file, "reload"), file);
    if (second.ok) {
      return second.bytes;
    }
    throw digestMismatch(file.title, file, second.actual);
  }

  #fetch(file: FileDescriptor, cache: RequestCache): Promise<Bytes> {
    const { meter, onProgress } = this.#options;
    return downloadFile(file.title, this.#location.blobUrl(file), file.size, {
      ...this.#network(),
      cache,
      onBytes: (doneBytes) => {
        meter.arrived(file.title, doneBytes);
        onProgress?.(file.title);
      },
    });
  }

  #document(name: string, url: string, cache: RequestCache): Promise<Bytes> {
    return downloadDocument(name, url, MAX_MANIFEST_BYTES, { ...this.#network(), cache });
  }

  #network(): DownloadOptions {
    const { fetch, pause, signal } = this.#options;
    return { ...(fetch && { fetch }), ...(pause && { pause }), ...(signal && { signal }) };
  }

  async #fromStore(promised: Descriptor): Promise<VerifiedBytes | null> {
    const bytes = await this.#store?.get(promised.digest);
    if (bytes === null || bytes === undefined) {
      return null;
    }
    const result = await checkDigest(bytes, promised);
    if (result.ok) {
      return result.bytes;
    }
    await this.#store?.delete(promised.digest);
    return null;
  }

  async #keep(promised: Descriptor, bytes: VerifiedBytes): Promise<void> {
    try {
      await this.#store?.put(promised.digest, bytes);
    } catch {
      // No room. The load goes on; the next visit downloads again what did not fit.
      this.#store = null;
    }
  }
}

/**
 * Read files in order, the next one on its way while the caller uses this one.
 *
 * At most two files are in memory at a time.
 */
export async function* readAhead(
  bundle: BundleReader,
  files: readonly FileDescriptor[],
): AsyncGenerator<{ file: FileDescriptor; bytes: VerifiedBytes }> {
  let next = start(bundle, files[0]);
  for (const [index, file] of files.entries()) {
    const result = await next;
    next = start(bundle, files[index + 1]);
    if (!(result instanceof Uint8Array)) {
      throw result.error;
    }
    yield { file, bytes: result };
  }
}

/** Begin reading; a failure waits as a value, so that nobody has to be listening yet. */
async function start(
  bundle: BundleReader,
  file: FileDescriptor | undefined,
): Promise<VerifiedBytes | { error: unknown }> {
  if (file === undefined) {
    return { error: undefined };
  }
  try {
    return await bundle.readFile(file);
  } catch (error) {
    return { error };
  }
}
