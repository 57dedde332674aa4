/**
 * Which of several pages leads: Web Locks decide, and pass on what a page held when it goes, however it
 * goes. Knows nothing of what a leader does.
 */
import { aliveLock, houseNames } from "../api-protocol.ts";

/** The part of `LockManager` that is used. */
export interface Locks {
  request(
    name: string,
    options: { signal: AbortSignal },
    work: () => Promise<void>,
  ): Promise<unknown>;
}

export interface LeadershipOptions {
  locks: Locks;
  /** The page's folder, absolute. */
  scope: string;
  /** Random. */
  id: string;
  /** It leads from now on; `aliveLock(id)` is held. */
  onLead: () => void;
  /** It is the one page that keeps ready for the lead. */
  onStandby: () => void;
}

/** @returns a function that gives the lead up, or the place in the line. */
export function seekLeadership({ locks, scope, id, onLead, onStandby }: LeadershipOptions) {
  const names = houseNames(scope);
  const seeking = new AbortController();
  const standing = new AbortController();
  const over = aborted(seeking.signal);
  const notStandby = aborted(standing.signal);

  const lead = async () => {
    standing.abort();
    if (seeking.signal.aborted) {
      return;
    }
    // Whoever hears of this leader waits for this lock at once, and must not get it.
    const alive = new Promise<void>((resolve) => {
      hold(locks, aliveLock(id), seeking.signal, () => {
        resolve();
        return over;
      });
    });
    await Promise.race([alive.then(onLead), over]);
    await over;
  };
  hold(locks, names.leaderLock, seeking.signal, lead);
  hold(locks, names.standbyLock, standing.signal, () => {
    if (!standing.signal.aborted) {
      onStandby();
    }
    return notStandby;
  });
  return () => {
    seeking.abort();
    standing.abort();
  };
}

/** A wait that is given up is no error. */
function hold(locks: Locks, name: string, signal: AbortSignal, work: () => Promise<void>): void {
  locks.request(name, { signal }, work).catch(() => undefined);
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    signal.addEventListener("abort", () => {
      resolve();
    });
  });
}
