/** What this browser gives to keep models in: its private file system, else its Cache API. */
import type { Keeping } from "./bundle.ts";
import { CacheStore } from "./cache-storage.ts";
import { OpfsStore } from "./opfs.ts";
import { type Alone, type Room, Shelf } from "./shelf.ts";

const LOCK = "transom-models";

/** Null where it gives nothing, as in some private windows. */
export async function openKeeping(): Promise<Keeping | null> {
  const { storage, locks } = navigator;
  const store = (await OpfsStore.open(storage)) ?? (await CacheStore.open());
  if (store === null) {
    return null;
  }
  const alone: Alone = (work) => locks.request(LOCK, work);
  return { store, shelf: new Shelf(store, alone, Date.now), room: () => roomIn(storage) };
}

async function roomIn(storage: StorageManager): Promise<Room> {
  const { quota = Infinity, usage = 0 } = await storage.estimate();
  return { quotaBytes: quota, usedBytes: usage };
}
