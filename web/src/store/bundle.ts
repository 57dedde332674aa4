/**
 * Reads a bundle from the network, with a blob store in front: index, one manifest, and its files,
 * each verified before anyone sees it.
 */
import { TransomError } from "../errors.ts";
import type { BundleReader, Kept, Measured } from "./bundle-reader.ts";
import { type DownloadOptions, downloadAhead, downloadDocument, downloadFile } from "./download.ts";
import { layDown, openKept, streamOf } from "./joined-pieces.ts";
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
import { mendBytes, mendFile } from "./mending.ts";
import type { ByteMeter } from "./progress.ts";
import type { Room, Shelf } from "./shelf.ts";
import { PIECE_BYTES } from "./pieces.ts";
import type { BlobStore, PieceStore } from "./store.ts";
import {
  type Bytes,
  type Digest,
  type Promised,
  type VerifiedBytes,
  type VerifiedFile,
  checkDigest,
  digestOf,
  fileOf,
} from "./verify.ts";

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

/** What downloads of this worker have learned of hosts. */
const RANGES = new Map<string, boolean>();

export function openBundle(location: Location, options: OpenOptions): BundleReader {
  return new HttpBundle(location, options);
}

/** Where the last visit's index is here, its host gets one chance to have another one. */
const IMPATIENCE = { attempts: 1, timeoutMs: 5_000 };

interface KeptIndex extends Promised {
  bytes: Bytes;
}

class HttpBundle implements BundleReader {
  readonly name: string;
  readonly #location: Location;
  readonly #options: OpenOptions;
  #store: BlobStore | null;
  /** The index and manifest that were kept: the model needs them like its files. */
  readonly #documents: Descriptor[] = [];
  /** The model's own index, which opens it when its host does not answer. */
  #index: KeptIndex | null = null;
  #isOffline = false;
  /** Larger files lie in pieces; null: none do. */
  #maxFileBytes: number | null = null;
  /** Bytes that the network brought of files that were not here. */
  readonly #arrived = new Map<Digest, number>();

  constructor(location: Location, options: OpenOptions) {
    this.name = location.name;
    this.#location = location;
    this.#options = options;
    this.#store = options.keeping?.store ?? null;
  }

  async readIndex(): Promise<Index> {
    const kept = await this.#keptIndex();
    try {
      return await this.#askForIndex(kept !== null);
    } catch (error) {
      if (kept !== null && error instanceof TransomError && error.code === "network") {
        this.#isOffline = true;
        this.#index = kept;
        return parseIndex(kept.bytes);
      }
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

  /** A tag moves: always ask the server, which answers 304 when nothing changed. */
  async #askForIndex(isKept: boolean): Promise<Index> {
    const { reference } = this.#location;
    const bytes = await this.#indexBytes(isKept);
    const index = parseIndex(bytes);
    if (reference !== null) {
      return this.#indexInLayout(index, reference);
    }
    this.#index = { digest: await digestOf(bytes), size: bytes.byteLength, bytes };
    return index;
  }

  /**
   * Of a model that is here mirrors are asked only where the host itself has lost the index: one that lags
   * behind would have an older version come back when the host is away.
   */
  async #indexBytes(isKept: boolean): Promise<Bytes> {
    const [own = "", ...mirrors] = this.#location.indexUrls;
    const ask = (urls: readonly string[]) =>
      this.#document(`model ${this.name}`, urls, "no-cache", null, isKept ? IMPATIENCE : {});
    return ask(isKept ? [own] : [own, ...mirrors]).catch((error: unknown) => {
      const isLost = error instanceof TransomError && error.code === "model-not-found";
      if (isKept && isLost && mirrors.length > 0) {
        return ask(mirrors);
      }
      throw error;
    });
  }

  /** The index of the newest version that earlier visits have brought in, where it is here. */
  async #keptIndex(): Promise<KeptIndex | null> {
    const shelf = this.#options.keeping?.shelf;
    const version = await shelf?.newest(this.#location.id).catch(() => null);
    const promised = version?.blobs.find(({ digest }) => digest === version.index);
    const bytes = promised === undefined ? null : await this.#fromStore(promised);
    return promised === undefined || bytes === null ? null : { ...promised, bytes };
  }

  /** A layout's own index has a row for each model; that row names the model's index by digest. */
  async #indexInLayout(layout: Index, reference: string): Promise<Index> {
    const row = layout.manifests.find(({ annotations }) => annotations.get(REF_NAME) === reference);
    if (row === undefined) {
      throw new TransomError("model-not-found", `${this.name} is not in the layout's index.`);
    }
    this.#maxFileBytes = layout.maxFileBytes;
    const cached = await this.#fromStore(row);
    if (cached !== null) {
      this.#index = { digest: row.digest, size: row.size, bytes: cached };
      return parseIndex(cached);
    }
    const urls = this.#location.manifestUrls(row);
    const index = await this.#document(`the index of ${this.name}`, urls, "default", row);
    this.#index = { digest: row.digest, size: row.size, bytes: index };
    return parseIndex(index);
  }

  async readManifest(row: Descriptor): Promise<Manifest> {
    const name = "the model's manifest";
    this.#documents.push(row);
    const cached = await this.#fromStore(row);
    if (cached !== null) {
      return parseManifest(cached);
    }
    const urls = this.#location.manifestUrls(row);
    const manifest = await this.#document(name, urls, "default", row);
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
      evictableBytes: await keeping.shelf.evictableBytes(
        this.#location.id,
        files,
        this.#index?.digest,
      ),
    };
  }

  async prepare(
    files: readonly FileDescriptor[],
    others: readonly FileDescriptor[] = [],
  ): Promise<Kept> {
    const { keeping } = this.#options;
    if (keeping === null) {
      return { isKept: false, isOffline: false, removed: [] };
    }
    const { shelf, room } = keeping;
    const isOffline = this.#isOffline;
    try {
      const { id, name } = this.#location;
      const index = this.#index;
      // The newer version, of which a part is here, goes on when the host answers again.
      if (isOffline && (await shelf.useAgain(id))?.index !== index?.digest) {
        return { isKept: true, isOffline, removed: [] };
      }
      const staying: FileDescriptor[] = [];
      for (const file of others) {
        if (await this.#isHere(file)) {
          staying.push(file);
        }
      }
      const documents = [...(index === null ? [] : [index]), ...this.#documents];
      const needed = [...documents, ...files, ...staying];
      const removed = await shelf.use({ id, name }, needed, index?.digest, room);
      if (index !== null) {
        await this.#keep(index, index.bytes);
      }
      return { isKept: true, isOffline, removed };
    } catch {
      // The model runs all the same; the next visit downloads it again, and the page says so.
      this.#store = null;
      return { isKept: false, isOffline, removed: [] };
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
      isInPieces: this.#isInPieces(file),
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
    const kept = await openKept(this.#store, file);
    if (kept !== null) {
      meter.finished(file.title, { cached: file.size, downloaded: 0 });
      onProgress?.(file.title);
      return kept;
    }
    const pieces = (await this.fetchAhead(file)) ? await this.#pieces(file) : null;
    const joined = pieces && (await this.#join(file, pieces));
    if (joined !== null) {
      const arrived = Math.min(file.size, this.#arrived.get(file.digest) ?? 0);
      meter.finished(file.title, { cached: file.size - arrived, downloaded: arrived });
      return joined;
    }
    // Nowhere to lay it down: it is held in memory.
    return fileOf(await this.readFile(file));
  }

  #join(file: FileDescriptor, pieces: PieceStore): Promise<VerifiedFile | null> {
    const { pieceBytes = PIECE_BYTES } = this.#options;
    const content = streamOf(pieces, file, pieceBytes);
    return layDown(this.#store, file, content, (joined) =>
      mendFile(file, joined, this.#location.blobUrls(file), this.#mending(file)),
    );
  }

  /** Download and verify; where the whole is wrong, pieces are fetched again. */
  async #fetchVerified(file: FileDescriptor): Promise<VerifiedBytes> {
    const { meter, onProgress } = this.#options;
    const ahead = this.#arrived.get(file.digest) ?? 0;
    const urls = this.#location.blobUrls(file);
    const pieces = await this.#pieces(file);
    const bytes = await downloadFile(file.title, urls, file.size, pieces, {
      ...this.#network(),
      isInPieces: this.#isInPieces(file),
      onBytes: (count) => {
        this.#arrived.set(file.digest, ahead + count);
        meter.arrived(file.title, ahead + count);
        onProgress?.(file.title);
      },
    });
    const result = await checkDigest(bytes, file);
    return result.ok ? result.bytes : mendBytes(file, bytes, pieces, urls, this.#mending(file));
  }

  /** Of bytes that came before: they count once, but whoever watches sees that something moves. */
  #mending(file: FileDescriptor): DownloadOptions {
    const { onProgress } = this.#options;
    return {
      ...this.#network(),
      isInPieces: this.#isInPieces(file),
      onBytes: () => onProgress?.(file.title),
    };
  }

  #document(
    name: string,
    urls: readonly string[],
    cache: RequestCache,
    promised: Promised | null,
    patience: Pick<DownloadOptions, "attempts" | "timeoutMs"> = {},
  ): Promise<Bytes> {
    const options = { ...this.#network(), ...patience, cache };
    return downloadDocument(name, urls, MAX_MANIFEST_BYTES, promised, options);
  }

  #isInPieces({ size }: FileDescriptor): boolean {
    return this.#maxFileBytes !== null && size > this.#maxFileBytes;
  }

  #network(): DownloadOptions {
    const { fetch, pause, signal, origin, pieceBytes } = this.#options;
    return {
      // Static hosts may have none; servers of ours do.
      ...(this.#location.reference !== null && { ranges: RANGES }),
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

  async #fromStore(promised: Promised): Promise<VerifiedBytes | null> {
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

  async #keep(promised: Promised, bytes: Bytes): Promise<void> {
    try {
      await this.#store?.put(promised.digest, bytes);
    } catch {
      // No room. The load goes on; the next visit downloads again what did not fit.
      this.#store = null;
    }
  }
}
