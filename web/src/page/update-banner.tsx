/** The line that says that a newer build of the page is here, with its button. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";

import { type Updates, watchUpdates } from "../client/update.ts";
import { words } from "./i18n/words.ts";

/** @param script address of the page's own script. */
export function UpdateBanner({ script }: { script: string }) {
  const { shell } = words.value;
  const isReady = useSignal(false);
  const isAsked = useSignal(false);
  const updates = useRef<Updates | null>(null);
  useEffect(() => {
    // Neither is there on plain http, where nothing is kept either.
    if (!("serviceWorker" in navigator) || !("locks" in navigator)) {
      return;
    }
    updates.current = watchUpdates({
      serviceWorkers: navigator.serviceWorker,
      locks: navigator.locks,
      script,
      onReady: () => {
        isReady.value = true;
      },
      reload: () => {
        location.reload();
      },
    });
  }, [script]);
  return (
    <div class="update" id="update" role="status" hidden={!isReady.value}>
      {shell.updateReady}
      <button
        class="quiet"
        id="update-now"
        type="button"
        disabled={isAsked.value}
        onClick={() => {
          isAsked.value = true;
          void updates.current?.apply();
        }}
      >
        {shell.updateNow}
      </button>
    </div>
  );
}
