/**
 * Reads a bundle: index, one manifest, and its files, each verified before anyone sees it.
 *
 * `openBundle` is for the network with a blob store in front. Node has its own `BundleReader` over
 * a folder; whoever loads a model cannot tell the difference.
 */
import { TransomError } from "../errors.ts";
import { type DownloadOptions, downloadAhead, downloadDocument, downloadFile } from "./download.ts";
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
import type { ModelName, Room, Shelf } from "./shelf.ts";
import { PIECE_BYTES, piecesOf } from "./pieces.ts";
import type { BlobStore, PieceStore } from "./store.ts";
import {
  type Bytes,
  type Digest,
  type VerifiedBytes,
  type VerifiedFile,
  checkDigest,
  checkFile,
  digestMismatch,
  fileOf,
  verifyBlob,
} from "./verify.ts";

export interface BundleReader {
  readonly name: string;
  readIndex(): Promise<Index>;
  readManifest(row: Descriptor): Promise<Manifest>;
  /** What of these files is here, and how much there is room for. */
  measure(files: readonly FileDescriptor[]): Promise<Measured>;
  /**
   * Before the first of these files is read: see that there is room to keep them.
   *
   * @param others what another engine would need: what is here of it stays.
   */
  prepare(files: readonly FileDescriptor[], others?: readonly FileDescriptor[]): Promise<Kept>;
  readFile(file: FileDescriptor): Promise<VerifiedBytes>;
  /** A file that may be too large for memory: it stays where it is kept, if it is. */
  openFile(file: FileDescriptor): Promise<VerifiedFile>;
  /**
   * Bring a file nearer, without holding it in memory.
   *
   * @returns false where that cannot be done, or not for this file.
   */
  fetchAhead(file: FileDescriptor): Promise<boolean>;
}

/** Bytes of a model's files, and of the place for them. */
export interface Measured {
  storedBytes: number;
  missingBytes: number;
  /** Null where nothing will be kept, or nothing is to come. */
  freeBytes: number | null;
  /** What more would be free without the models that may leave. */
  evictableBytes: number;
}

/** What will be there at the next visit. */
export interface Kept {
  isKept: boolean;
  /** Models that had to leave. */
  removed: readonly string[];
}

/** Where files are kept: blobs, which model needs them, and how much there is room for. */
export interface Keeping {
  store: BlobStore;
  shelf: Shelf;
  room: () => Promise<Room>;
  /** Runs `work` while no tab may forget this model. */
  using<T>(id: string, work: () => Promise<T>): Promise<T>;
}

type Network = Pick<DownloadOptions, "fetch" | "pause" | "signal" | "origin" | "pieceBytes">;

export interface OpenOptions extends Network {
  keeping: Keeping | null;
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
  /** The index and manifest that were kept: the model needs them like its files. */
  readonly #documents: Descriptor[] = [];
  /** Bytes that the network brought of files that were not here. */
  readonly #arrived = new Map<Digest, number>();

  constructor(location: Location, options: OpenOptions) {
    this.name = location.name;
    this.#location = location;
    this.#options = options;
    this.#store = options.keeping?.store ?? null;
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
    this.#documents.push(row);
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
    this.#documents.push(row);
    const cached = await this.#fromStore(row);
    if (cached !== null) {
      return parseManifest(cached);
    }
    const bytes = await this.#document(name, this.#location.manifestUrl(row), "default");
    const manifest = await verifyBlob(name, bytes, row);
    await this.#keep(row, manifest);
    return parseManifest(manifest);
  }

  async measure(files: readonly FileDescriptor[]): Promise<Measured> {
    const { keeping } = this.#options;
    const totalBytes = files.reduce((sum, { size }) => sum + size, 0);
    if (keeping === null) {
      return {
        storedBytes: 0,
        missingBytes: totalBytes,
        freeBytes: null,
        evictableBytes: 0,
      };
    }
    const missingBytes = await keeping.shelf.missingBytes(files);
    const { quotaBytes, usedBytes } = await keeping.room();
    return {
      storedBytes: totalBytes - missingBytes,
      missingBytes,
      freeBytes: Math.max(0, quotaBytes - usedBytes),
      evictableBytes: await keeping.shelf.evictableBytes(this.#location.id),
    };
  }

  async prepare(
    files: readonly FileDescriptor[],
    others: readonly FileDescriptor[] = [],
  ): Promise<Kept> {
    const { keeping } = this.#options;
    if (keeping === null) {
      return { isKept: false, removed: [] };
    }
    const { shelf, room } = keeping;
    try {
      const { id, name }: ModelName = this.#location;
      const missing = await shelf.missingBytes(files);
      const removed = await shelf.makeRoom(missing, room, { id, name });
      const staying: FileDescriptor[] = [];
      for (const file of others) {
        if (await this.#isHere(file)) {
          staying.push(file);
        }
      }
      await shelf.use({ id, name }, [...this.#documents, ...files, ...staying]);
      return { isKept: true, removed };
    } catch {
      // The model runs all the same; the next visit downloads it again, and the page says so.
      this.#store = null;
      return { isKept: false, removed: [] };
    }
  }

  async fetchAhead(file: FileDescriptor): Promise<boolean> {
    const pieces = await this.#pieces(file);
    if (pieces === null || (await this.#isHere(file))) {
      return pieces !== null;
    }
    const { meter, onProgress } = this.#options;
    const urls = this.#location.blobUrls(file);
    return downloadAhead(file.title, urls, file.size, pieces, {
      ...this.#network(),
      onBytes: (bytes) => {
        this.#arrived.set(file.digest, bytes);
        meter.arrived(file.title, bytes);
        onProgress?.(file.title);
      },
    });
  }

  /**
   * Bytes from the store are hashed again: it costs a tenth of a second per 100 MB, and a disk
   * that rots or another script of this origin must not reach the GPU.
   */
  async readFile(file: FileDescriptor): Promise<VerifiedBytes> {
    const { meter, onProgress } = this.#options;
    const cached = await this.#fromStore(file);
    if (cached !== null) {
      meter.finished(file.title, { cached: file.size, downloaded: 0 });
      onProgress?.(file.title);
      return cached;
    }
    const bytes = await this.#fetchVerified(file);
    // The rest are pieces of an earlier visit.
    const arrived = Math.min(file.size, this.#arrived.get(file.digest) ?? 0);
    meter.finished(file.title, { cached: file.size - arrived, downloaded: arrived });
    onProgress?.(file.title);
    await this.#keep(file, bytes);
    return bytes;
  }

  async openFile(file: FileDescriptor): Promise<VerifiedFile> {
    const { meter, onProgress } = this.#options;
    const kept = await this.#openKept(file);
    if (kept !== null) {
      meter.finished(file.title, { cached: file.size, downloaded: 0 });
      onProgress?.(file.title);
      return kept;
    }
    const joined = (await this.fetchAhead(file)) ? await this.#join(file) : null;
    if (joined !== null) {
      const arrived = Math.min(file.size, this.#arrived.get(file.digest) ?? 0);
      meter.finished(file.title, { cached: file.size - arrived, downloaded: arrived });
      return joined;
    }
    // Nowhere to lay it down, or it came wrong: in memory it is asked for once more.
    return fileOf(await this.readFile(file));
  }

  /** The pieces of a file, all of which are here, as one; null where there is no room for it. */
  async #join(file: FileDescriptor): Promise<VerifiedFile | null> {
    const { pieceBytes = PIECE_BYTES } = this.#options;
    const pieces = await this.#pieces(file);
    if (pieces === null) {
      return null;
    }
    try {
      await this.#store?.put(file.digest, streamOf(pieces, file, pieceBytes));
    } catch {
      return null;
    }
    return this.#openKept(file);
  }

  async #openKept(file: FileDescriptor): Promise<VerifiedFile | null> {
    const kept = await this.#store?.open(file.digest);
    if (kept === null || kept === undefined) {
      return null;
    }
    const checked = await checkFile(kept, file);
    if (checked === null) {
      await this.#store?.delete(file.digest);
    }
    return checked;
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

  async #fetch(file: FileDescriptor, cache: RequestCache): Promise<Bytes> {
    const { meter, onProgress } = this.#options;
    const ahead = this.#arrived.get(file.digest) ?? 0;
    // Past all caches is past the pieces, too: they are what was wrong.
    const pieces = await this.#pieces(file);
    if (cache === "reload") {
      await pieces?.clear();
    }
    return downloadFile(file.title, this.#location.blobUrls(file), file.size, pieces, {
      ...this.#network(),
      cache,
      onBytes: (bytes) => {
        this.#arrived.set(file.digest, ahead + bytes);
        meter.arrived(file.title, ahead + bytes);
        onProgress?.(file.title);
      },
    });
  }

  #document(name: string, url: string, cache: RequestCache): Promise<Bytes> {
    return downloadDocument(name, url, MAX_MANIFEST_BYTES, { ...this.#network(), cache });
  }

  #network(): DownloadOptions {
    const { fetch, pause, signal, origin, pieceBytes } = this.#options;
    return {
      ...(fetch && { fetch }),
      ...(pause && { pause }),
      ...(signal && { signal }),
      ...(origin !== undefined && { origin }),
      ...(pieceBytes !== undefined && { pieceBytes }),
    };
  }

  /** Of a small file there are none: it is fetched in one go. */
  async #pieces(file: FileDescriptor): Promise<PieceStore | null> {
    const { pieceBytes = PIECE_BYTES } = this.#options;
    return file.size <= pieceBytes ? null : ((await this.#store?.pieces(file.digest)) ?? null);
  }

  async #isHere(file: FileDescriptor): Promise<boolean> {
    return (await this.#store?.open(file.digest))?.size === file.size;
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

/** What lies in pieces, from the first byte on. Errs where a piece is missing. */
function streamOf(
  pieces: PieceStore,
  { size }: FileDescriptor,
  pieceBytes: number,
): ReadableStream<Bytes> {
  const all = piecesOf(size, pieceBytes).values();
  return new ReadableStream({
    async pull(controller) {
      const next = all.next();
      if (next.done) {
        controller.close();
        return;
      }
      const { index, start, end } = next.value;
      const bytes = await pieces.get(index);
      if (bytes?.byteLength !== end - start) {
        throw new TransomError("internal", `piece ${index} is gone`);
      }
      controller.enqueue(bytes);
    },
  });
}

/**
 * Read files in order, the next one on its way while the caller uses this one.
 *
 * Where files can be fetched ahead to a disk, one is in memory at a time; elsewhere two are.
 */
export async function* readAhead(
  bundle: BundleReader,
  files: readonly FileDescriptor[],
): AsyncGenerator<{ file: FileDescriptor; bytes: VerifiedBytes }> {
  let ahead = settled(fetchNext(bundle, files[0]));
  for (const [index, file] of files.entries()) {
    const before = await ahead;
    if ("error" in before) {
      throw before.error;
    }
    const bytes = before.value ?? (await bundle.readFile(file));
    ahead = settled(fetchNext(bundle, files[index + 1]));
    yield { file, bytes };
  }
}

/** The file itself where it cannot wait elsewhere; null where it does. */
async function fetchNext(
  bundle: BundleReader,
  file: FileDescriptor | undefined,
): Promise<VerifiedBytes | null> {
  return file === undefined || (await bundle.fetchAhead(file)) ? null : bundle.readFile(file);
}

/** A failure waits as a value, so that nobody has to be listening yet. */
async function settled<T>(work: Promise<T>): Promise<{ value: T } | { error: unknown }> {
  try {
    return { value: await work };
  } catch (error) {
    return { error };
  }
}
