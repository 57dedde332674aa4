/** What a model thought before it spoke: folded, with how long that took. */
import "./tools.css";
import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { formatSeconds } from "../format.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";

export interface ReasoningViewProps {
  text: string;
  isThinking: boolean;
  /** How long it took; left out: nobody knows. */
  seconds?: number | undefined;
  /** Instead of the plain text, where somebody can show it better. */
  children?: ComponentChildren;
}

/** Who looks on once wants to look on the next time, too; until the page goes. */
const looksOn = signal(false);

export function ReasoningView({ text, isThinking, seconds, children }: ReasoningViewProps) {
  const { reasoning } = words.value.tools;
  const [isOpen, setOpen] = useState(isThinking && looksOn.value);
  // What somebody opened by hand here stays open.
  const isByHand = useRef(false);
  const details = useRef<HTMLDetailsElement>(null);
  useEffect(() => {
    if (!isThinking && !isByHand.current) {
      setOpen(false);
    }
  }, [isThinking]);
  const label = isThinking
    ? reasoning.thinking
    : seconds === undefined
      ? reasoning.thought
      : seconds < 1
        ? reasoning.thoughtBriefly
        : reasoning.thoughtFor(formatSeconds(seconds));
  return (
    <details class={isThinking ? "reasoning is-thinking" : "reasoning"} ref={details} open={isOpen}>
      <summary
        class="reasoning-line"
        onClick={(event) => {
          // By state, not by the browser: it says "toggle" for both.
          event.preventDefault();
          isByHand.current = !isOpen;
          if (isThinking) {
            looksOn.value = !isOpen;
          }
          setOpen(!isOpen);
        }}
      >
        <span class="reasoning-dot" aria-hidden="true" />
        {label}
        <span class="call-arrow">
          <Icon name="down" />
        </span>
      </summary>
      {isOpen && (
        <div class="reasoning-text" dir="auto">
          {children ?? text}
        </div>
      )}
    </details>
  );
}
