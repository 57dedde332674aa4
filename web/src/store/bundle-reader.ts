/**
 * What whoever loads a model sees of its bundle, wherever it comes from: `bundle.ts` (the network, a
 * blob store in front), `stored-bundle.ts`, or Node's folder.
 */
import type { Descriptor, FileDescriptor, Index, Manifest } from "./manifest.ts";
import type { VerifiedBytes, VerifiedFile } from "./verify.ts";

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

/** How the model stands with this browser's storage. */
export interface Kept {
  /** Whether the next visit finds it. */
  isKept: boolean;
  /** Its host did not answer: this is the model of the last visit, and there may be a newer one. */
  isOffline: boolean;
  /** Models that had to leave. */
  removed: readonly string[];
}

/**
 * Read files in order, the next one on its way while the caller uses this one.
 *
 * Where files can be fetched ahead to a disk, one is in memory at a time; elsewhere two are.
 *
 * @param areHere they lie on a disk already: the first one is read at once, before anybody asks.
 */
export function readAhead(
  bundle: BundleReader,
  files: readonly FileDescriptor[],
  areHere = false,
): AsyncGenerator<{ file: FileDescriptor; bytes: VerifiedBytes }> {
  const [first] = files;
  const isWanted = areHere && first !== undefined;
  return inOrder(bundle, files, settled(isWanted ? bundle.readFile(first) : null));
}

async function* inOrder(
  bundle: BundleReader,
  files: readonly FileDescriptor[],
  started: Promise<Settled>,
): AsyncGenerator<{ file: FileDescriptor; bytes: VerifiedBytes }> {
  let ahead = started;
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

type Settled = { value: VerifiedBytes | null } | { error: unknown };

/** A failure waits as a value, so that nobody has to be listening yet. */
async function settled(work: Promise<VerifiedBytes | null> | null): Promise<Settled> {
  try {
    return { value: await work };
  } catch (error) {
    return { error };
  }
}
