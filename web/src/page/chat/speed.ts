/** Tokens per second of the answer that comes, while it comes. */
import { useSignal, useSignalEffect } from "@preact/signals";
import { useRef } from "preact/hooks";

import type { Chat } from "../../chat/chat.ts";

/** A figure that changes with each token is no figure. */
const SHOWN_EVERY_MILLISECONDS = 500;

/** @returns null while none comes. */
export function useSpeed(chat: Chat): number | null {
  const shown = useSignal<number | null>(null);
  const from = useRef({ id: "", at: 0, pieces: 0, shownAt: 0 });
  useSignalEffect(() => {
    const live = chat.live.value;
    const { pieces } = chat.partial;
    const now = performance.now();
    if (live === null) {
      shown.value = null;
      return;
    }
    if (from.current.id !== live.id || pieces <= 1) {
      from.current = { id: live.id, at: now, pieces, shownAt: 0 };
      return;
    }
    if (now - from.current.shownAt >= SHOWN_EVERY_MILLISECONDS && now > from.current.at) {
      from.current.shownAt = now;
      shown.value = ((pieces - from.current.pieces) / (now - from.current.at)) * 1000;
    }
  });
  return shown.value;
}
