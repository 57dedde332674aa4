/** What the page may ask of this browser's storage: list, pin, remove, import. */
import { TransomError } from "../errors.ts";
import type { ImportProgress, ImportRequest, Imported, Requests, Storage } from "../protocol.ts";
import type { Keeping } from "../store/bundle.ts";
import { importFiles } from "../store/importing.ts";
import { openKeeping } from "../store/keeping.ts";
import type { PrefixCache } from "../store/prefix-cache.ts";

export async function listStored(): Promise<Storage> {
  const keeping = await openKeeping();
  if (keeping === null) {
    return { models: [], quotaBytes: null, usedBytes: null, isPersisted: false };
  }
  await keeping.shelf.sweep();
  const { quotaBytes, usedBytes } = await keeping.room();
  return {
    models: await keeping.shelf.sizes(),
    quotaBytes: Number.isFinite(quotaBytes) ? quotaBytes : null,
    usedBytes,
    isPersisted: await navigator.storage.persisted(),
  };
}

export async function pin(id: string, isPinned: boolean): Promise<null> {
  await (await requireKeeping()).shelf.pin(id, isPinned);
  return null;
}

/** @param prefixes cannot say whose its pages are: all go, and are made again where they are needed. */
export async function remove(
  { id, keepsFormer }: Requests["remove"]["payload"],
  prefixes: PrefixCache | null,
): Promise<Requests["remove"]["reply"]> {
  const freedBytes = await (await requireKeeping()).shelf.forget(id, keepsFormer);
  await prefixes?.clear();
  return { freedBytes };
}

export async function importInto(
  { files }: ImportRequest,
  onProgress: (progress: ImportProgress) => void,
  signal: AbortSignal,
): Promise<readonly Imported[]> {
  return importFiles(files, await requireKeeping(), onProgress, signal);
}

async function requireKeeping(): Promise<Keeping> {
  const keeping = await openKeeping();
  if (keeping === null) {
    throw new TransomError(
      "no-room",
      "This browser keeps no files for this site (a private window?); open the page in a usual one.",
    );
  }
  return keeping;
}
