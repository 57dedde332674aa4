/**
 * How contexts hear of each other's end, however it comes: one holds a Web Lock with a random name for
 * its life, and whoever wants to know waits for it. Browsers stop service workers and close tabs without
 * a word, and Chromium tells no port that its other end has gone. This file knows no context.
 */
import { aliveLock } from "./api-protocol.ts";

/** The part of `LockManager` that is used. */
export interface LifeLocks {
  request(name: string, work: () => Promise<void>): Promise<unknown>;
}

/** Resolves when others may hear of `id`: they would take a lock that is not held yet for an end. */
export function live(id: string, locks: LifeLocks): Promise<void> {
  return new Promise((resolve, reject) => {
    const work = () => {
      resolve();
      return new Promise<void>(() => undefined);
    };
    locks.request(aliveLock(id), work).catch(reject);
  });
}

/** Resolves when who `live`s as `id` has gone. */
export async function whenGone(id: string, locks: LifeLocks): Promise<void> {
  await locks.request(aliveLock(id), () => Promise.resolve());
}
