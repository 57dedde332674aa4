/**
 * A blob store on the origin's private file system (OPFS).
 *
 *     transom/blobs/<hex>              a blob
 *     transom/pieces/<hex>/<number>    a piece of one that is on its way
 *     transom/models.json              which blobs are here for whom
 *
 * Written by streams that put a file in its place when they close, so a closed tab leaves at worst
 * an empty file, which is no blob and no piece. Two tabs that fetch the same blob write the same
 * bytes; what one of them has open the other cannot remove, and leaves for a later sweep.
 */
import { CREATE, missing, open, read, remove, write } from "./opfs-files.ts";
import type { BlobStore, Held, PieceStore } from "./store.ts";
import { type Bytes, type Digest, hexOf, isDigest } from "./verify.ts";

const FOLDER = "transom";
const BLOBS = "blobs";
const PIECES = "pieces";
const RECORDS = "models.json";

export class OpfsStore implements BlobStore {
  readonly #root: FileSystemDirectoryHandle;
  readonly #blobs: FileSystemDirectoryHandle;
  readonly #pieces: FileSystemDirectoryHandle;

  private constructor(
    root: FileSystemDirectoryHandle,
    blobs: FileSystemDirectoryHandle,
    pieces: FileSystemDirectoryHandle,
  ) {
    this.#root = root;
    this.#blobs = blobs;
    this.#pieces = pieces;
  }

  /** The store of this origin; null where the browser has no such file system, or lets nobody in. */
  static async open(storage: Pick<StorageManager, "getDirectory">): Promise<OpfsStore | null> {
    try {
      if (!hasStreams()) {
        return null;
      }
      const root = await (await storage.getDirectory()).getDirectoryHandle(FOLDER, CREATE);
      const blobs = await root.getDirectoryHandle(BLOBS, CREATE);
      return new OpfsStore(root, blobs, await root.getDirectoryHandle(PIECES, CREATE));
    } catch {
      return null;
    }
  }

  get(digest: Digest): Promise<Bytes | null> {
    return read(this.#blobs, hexOf(digest));
  }

  open(digest: Digest): Promise<Blob | null> {
    return open(this.#blobs, hexOf(digest));
  }

  async put(digest: Digest, content: Bytes | ReadableStream<Bytes>): Promise<void> {
    await write(this.#blobs, hexOf(digest), content);
    await remove(this.#pieces, hexOf(digest));
  }

  async delete(digest: Digest): Promise<void> {
    await remove(this.#blobs, hexOf(digest));
    await remove(this.#pieces, hexOf(digest));
  }

  async pieces(digest: Digest): Promise<PieceStore> {
    const hex = hexOf(digest);
    const folder = await this.#pieces.getDirectoryHandle(hex, CREATE);
    return new OpfsPieces(folder, () => remove(this.#pieces, hex));
  }

  async list(): Promise<Held[]> {
    const held: Held[] = [];
    for await (const [name, handle] of this.#blobs.entries()) {
      await note(held, name, () => fileBytes(handle), true);
    }
    for await (const [name, handle] of this.#pieces.entries()) {
      await note(held, name, () => folderBytes(handle), false);
    }
    return held;
  }

  /** Chromium writes into `<name>.crswap` first, and leaves that when it is killed. */
  async removeStrays(): Promise<void> {
    for (const name of await namesIn(this.#blobs)) {
      if (!isDigest(`sha256:${name}`)) {
        await remove(this.#blobs, name);
      }
    }
  }

  readRecords(): Promise<Bytes | null> {
    return read(this.#root, RECORDS);
  }

  writeRecords(bytes: Bytes): Promise<void> {
    return write(this.#root, RECORDS, bytes);
  }
}

class OpfsPieces implements PieceStore {
  readonly #folder: FileSystemDirectoryHandle;
  readonly clear: () => Promise<void>;

  constructor(folder: FileSystemDirectoryHandle, clear: () => Promise<void>) {
    this.#folder = folder;
    this.clear = clear;
  }

  async indices(): Promise<number[]> {
    const names = await namesIn(this.#folder);
    return names.filter((name) => /^\d{1,6}$/.test(name)).map(Number);
  }

  get(index: number): Promise<Bytes | null> {
    return read(this.#folder, String(index));
  }

  put(index: number, bytes: Bytes): Promise<void> {
    return write(this.#folder, String(index), bytes);
  }
}

async function note(
  held: Held[],
  hex: string,
  measure: () => Promise<number>,
  isWhole: boolean,
): Promise<void> {
  const digest = `sha256:${hex}`;
  if (!isDigest(digest)) {
    return;
  }
  try {
    const bytes = await measure();
    // What nobody ever filled counts only as something to sweep, and an empty folder is no harm.
    if (bytes > 0) {
      held.push({ digest, bytes, isWhole });
    }
  } catch (error) {
    missing(error, undefined);
  }
}

async function fileBytes(handle: FileSystemHandle): Promise<number> {
  return handle instanceof FileSystemFileHandle ? (await handle.getFile()).size : 0;
}

async function folderBytes(handle: FileSystemHandle): Promise<number> {
  let bytes = 0;
  if (handle instanceof FileSystemDirectoryHandle) {
    for await (const each of handle.values()) {
      bytes += await fileBytes(each);
    }
  }
  return bytes;
}

async function namesIn(folder: FileSystemDirectoryHandle): Promise<string[]> {
  const names: string[] = [];
  for await (const name of folder.keys()) {
    names.push(name);
  }
  return names;
}

/**
 * Some browsers have the file system, but not the streams that replace a file as a whole. Asked
 * without a file to try it on: two that open the store at once would take it from each other.
 */
function hasStreams(): boolean {
  return "createWritable" in FileSystemFileHandle.prototype;
}
