/** Keeps the end of the conversation in sight for whoever reads along. */
import { useSignalEffect } from "@preact/signals";
import type { RefObject } from "preact";
import { useCallback, useEffect, useRef, useState } from "preact/hooks";

import type { Chat } from "../../chat/chat.ts";

/** Closer to the end than this counts as reading along. */
const NEAR_END_PIXELS = 80;

export interface Following {
  /** Somebody reads further up. */
  isAway: boolean;
  toEnd: () => void;
}

export function useFollowing(scroller: RefObject<HTMLElement | null>, chat: Chat): Following {
  const isFollowing = useRef(true);
  const [isAway, setAway] = useState(false);
  const toEnd = useCallback(() => {
    const element = scroller.current;
    isFollowing.current = true;
    element?.scrollTo({ top: element.scrollHeight });
  }, [scroller]);
  useEffect(() => {
    const element = scroller.current;
    if (element === null) {
      return;
    }
    const follow = () => {
      if (isFollowing.current) {
        element.scrollTop = element.scrollHeight;
      }
    };
    let before = element.scrollTop;
    const look = () => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      if (scrollHeight - scrollTop - clientHeight < NEAR_END_PIXELS) {
        isFollowing.current = true;
      } else if (scrollTop < before) {
        // Upwards goes only a person; the end may have moved on since we went there.
        isFollowing.current = false;
      }
      before = scrollTop;
      setAway(!isFollowing.current);
    };
    element.addEventListener("scroll", look, { passive: true });
    // What is in it grows with each token, and when colours or a picture come later.
    const sizes = new ResizeObserver(follow);
    const watch = () => {
      sizes.disconnect();
      sizes.observe(element);
      for (const child of element.children) {
        sizes.observe(child);
      }
    };
    const inside = new MutationObserver(watch);
    watch();
    inside.observe(element, { childList: true });
    return () => {
      element.removeEventListener("scroll", look);
      sizes.disconnect();
      inside.disconnect();
    };
  }, [scroller]);
  useSignalEffect(() => {
    // Whoever asks wants to see the answer; whoever opens a conversation, its end.
    if (chat.conversation.value.id !== "" || chat.isAnswering.value) {
      isFollowing.current = true;
    }
  });
  return { isAway, toEnd };
}
