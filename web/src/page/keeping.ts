/** What this page asks of the browser's storage, so that models stay. */

/** Browsers that ask the person do so once a visit at most. */
let isAsked = false;

/**
 * Ask the browser not to let go of models when its disk is full: before the first one comes, since what is
 * half here may be let go of, too, and some browsers give more room to whom they have said yes. Their answer
 * is not waited for: models come in any case.
 */
export function askToKeep(
  // None over plain http.
  storage: Pick<StorageManager, "persist"> | null = (navigator as Partial<Navigator>).storage ??
    null,
): void {
  if (!isAsked) {
    isAsked = true;
    storage?.persist().catch(() => undefined);
  }
}
