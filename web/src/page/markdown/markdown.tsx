/** A model's output as markdown: safe whatever it says, and cheap while it streams. */
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

import { words } from "../i18n/words.ts";
import { copyCode } from "./copying.ts";
import type { Cited } from "./labels.ts";
import { MarkdownView } from "./view.ts";

import "./markdown.css";

export interface MarkdownProps {
  text: string;
  /** More may come: what is half open is shown as if it were closed. At most one update a frame, please. */
  isStreaming: boolean;
  /** What [1], [2] cite; without them these are text. */
  sources?: readonly Cited[] | undefined;
  /** A citation was pressed; 0 is the first source. */
  onSource?: ((index: number) => void) | undefined;
}

const NO_SOURCES: readonly Cited[] = [];

export function Markdown({ text, isStreaming, sources = NO_SOURCES, onSource }: MarkdownProps) {
  const root = useRef<HTMLDivElement>(null);
  const view = useRef<MarkdownView | null>(null);
  const labels = words.value.markdown;
  const cited = JSON.stringify(sources.map(({ name, page }) => [name, page]));
  useLayoutEffect(() => {
    const element = root.current;
    if (element === null) {
      return undefined;
    }
    const made = new MarkdownView(element, { labels, sources });
    view.current = made;
    return () => {
      made.destroy();
      element.replaceChildren();
    };
    // Sources are compared by what is shown of them.
  }, [labels, cited]);
  useLayoutEffect(() => {
    view.current?.update(text, isStreaming);
  }, [text, isStreaming, labels, cited]);
  useEffect(() => {
    const element = root.current;
    const press = (event: MouseEvent) => {
      const button = event.target instanceof Element ? event.target.closest("button") : null;
      if (button?.classList.contains("md-copy") === true) {
        void copyCode(button, labels);
      } else if (button?.classList.contains("md-citation") === true) {
        onSource?.(Number(button.textContent) - 1);
      }
    };
    element?.addEventListener("click", press);
    return () => element?.removeEventListener("click", press);
  }, [labels, onSource]);
  return <div class={isStreaming ? "markdown is-growing" : "markdown"} ref={root} />;
}
