/** Where something that floats goes, beside what opened it and inside the window. */
import { useLayoutEffect } from "preact/hooks";

const GAP_PIXELS = 6;
const EDGE_PIXELS = 8;

export interface Box {
  left: number;
  top: number;
  width: number;
  height: number;
}

/**
 * The upper left corner: below the anchor, or above it where there is more room; its start at the
 * anchor's start, unless that leads out of the window.
 */
export function placeBeside(
  anchor: Box,
  floating: Pick<Box, "width" | "height">,
  view: Pick<Box, "width" | "height">,
  isRightToLeft: boolean,
): { left: number; top: number } {
  const below = anchor.top + anchor.height + GAP_PIXELS;
  const above = anchor.top - GAP_PIXELS - floating.height;
  const fitsBelow = below + floating.height <= view.height - EDGE_PIXELS;
  const isAbove = !fitsBelow && anchor.top > view.height - anchor.top - anchor.height;
  const start = isRightToLeft ? anchor.left + anchor.width - floating.width : anchor.left;
  const inside = (value: number, size: number, room: number) =>
    Math.max(EDGE_PIXELS, Math.min(value, room - size - EDGE_PIXELS));
  return {
    left: inside(start, floating.width, view.width),
    top: inside(isAbove ? above : below, floating.height, view.height),
  };
}

/**
 * Shows `floating` above everything while it is there, beside `anchor`. A click elsewhere and Escape
 * close it (the browser's own popover), and the focus goes back to the anchor.
 */
export function useAnchored(
  floating: { readonly current: HTMLElement | null },
  anchor: { readonly current: HTMLButtonElement | null },
  onClose: () => void,
): void {
  useLayoutEffect(() => {
    const element = floating.current;
    const opener = anchor.current;
    if (element === null || opener === null) {
      return;
    }
    const settle = () => {
      const { left, top } = placeBeside(
        opener.getBoundingClientRect(),
        element.getBoundingClientRect(),
        { width: document.documentElement.clientWidth, height: window.innerHeight },
        getComputedStyle(opener).direction === "rtl",
      );
      element.style.left = `${left}px`;
      element.style.top = `${top}px`;
    };
    const watchToggle = (event: Event) => {
      if ((event as ToggleEvent).newState === "closed") {
        onClose();
      }
    };
    // Without popovers (Safari 16) it is an element like others, and the two ways out are ours.
    const hasPopovers = "showPopover" in element;
    const leave = (event: Event) => {
      const isInside =
        event.target instanceof Node &&
        (element.contains(event.target) || opener.contains(event.target));
      if (event instanceof KeyboardEvent ? event.key === "Escape" : !isInside) {
        onClose();
      }
    };
    let tie: ReturnType<typeof setTimeout> | undefined;
    if (hasPopovers) {
      element.showPopover();
      // From the next click on, one on the opener closes. Now the browser would have it close at once.
      tie = setTimeout(() => {
        opener.popoverTargetElement = element;
      });
      element.addEventListener("toggle", watchToggle);
    } else {
      document.addEventListener("pointerdown", leave);
      document.addEventListener("keydown", leave);
    }
    settle();
    window.addEventListener("resize", settle);
    return () => {
      element.removeEventListener("toggle", watchToggle);
      document.removeEventListener("pointerdown", leave);
      document.removeEventListener("keydown", leave);
      window.removeEventListener("resize", settle);
      clearTimeout(tie);
      opener.popoverTargetElement = null;
      if (element.contains(document.activeElement) || document.activeElement === document.body) {
        opener.focus();
      }
    };
  }, []);
}
