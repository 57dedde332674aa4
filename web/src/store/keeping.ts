/** What this browser gives to keep models in: its private file system, else its Cache API. */
import type { Keeping } from "./bundle.ts";
import { CacheStore } from "./cache-storage.ts";
import { OpfsStore } from "./opfs.ts";
import { type Room, Shelf, type Tabs } from "./shelf.ts";

/** Held by whoever changes the list of models. */
const LIST_LOCK = "transom-models";
/** Shared by all that load a model; its id follows. */
const USING_LOCK = "transom-using ";

/** Null where it gives nothing, as in some private windows. */
export async function openKeeping(): Promise<Keeping | null> {
  const { storage, locks } = navigator;
  const store = (await OpfsStore.open(storage)) ?? (await CacheStore.open());
  if (store === null) {
    return null;
  }
  const tabs = tabsOf(locks);
  return {
    store,
    shelf: new Shelf(store, tabs, Date.now),
    room: () => roomIn(storage),
    using: (id, work) => tabs.using(id, work),
  };
}

/** Locks end with their tab, however it ends. */
function tabsOf(locks: LockManager): Tabs {
  return {
    alone: (work) => locks.request(LIST_LOCK, work),
    using: (id, work) => locks.request(USING_LOCK + id, { mode: "shared" }, work),
    inUse: async () => {
      const { held = [] } = await locks.query();
      const ids = held
        .map(({ name = "" }) => name)
        .filter((name) => name.startsWith(USING_LOCK))
        .map((name) => name.slice(USING_LOCK.length));
      return new Map(ids.map((id) => [id, ids.filter((other) => other === id).length]));
    },
  };
}

async function roomIn(storage: StorageManager): Promise<Room> {
  const { quota = Infinity, usage = 0 } = await storage.estimate();
  return { quotaBytes: quota, usedBytes: usage };
}
