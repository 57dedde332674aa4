/** Everything that this browser keeps of the page, gone: the visitor wants a fresh start. */
import type { Kept } from "./kept.ts";

/** Conversations, files, models, choices, the app itself; then the page is loaded anew. */
export async function wipeBrowser(kept: Kept): Promise<void> {
  const database = await kept.database;
  await database.wipe();
  localStorage.clear();
  sessionStorage.clear();
  for (const name of await caches.keys()) {
    await caches.delete(name);
  }
  const folder = await navigator.storage.getDirectory();
  for await (const name of folder.keys()) {
    // A file that another tab has open stays until that is closed.
    await folder.removeEntry(name, { recursive: true }).catch(() => undefined);
  }
  for (const registration of await navigator.serviceWorker.getRegistrations()) {
    await registration.unregister();
  }
  location.href = location.pathname;
}
