/**
 * Which screen shows: what stands behind the `#` of the page's address, so that a reload, a bookmark
 * and the browser's "back" lead where people think.
 *
 *   (nothing)   a new chat
 *   #c=<id>     a conversation
 *   #models     the models
 */
import { type ReadonlySignal, signal } from "@preact/signals";

export type Route = { screen: "chat"; conversation: string | null } | { screen: "models" };

const current = signal<Route>(read());

export const route: ReadonlySignal<Route> = current;

window.addEventListener("hashchange", () => {
  current.value = read();
});
window.addEventListener("popstate", () => {
  current.value = read();
});

/** @param how "replace": the screen that shows has another address now, and "back" skips the old one. */
export function go(to: Route, how: "push" | "replace" = "push"): void {
  const url = new URL(location.href);
  url.hash = hashOf(to);
  if (url.href !== location.href) {
    if (how === "push") {
      history.pushState(null, "", url);
    } else {
      history.replaceState(null, "", url);
    }
  }
  current.value = to;
}

function hashOf(to: Route): string {
  if (to.screen === "models") {
    return "models";
  }
  return to.conversation === null ? "" : `c=${to.conversation}`;
}

function read(): Route {
  const text = location.hash.slice(1);
  if (text === "models") {
    return { screen: "models" };
  }
  return { screen: "chat", conversation: text.startsWith("c=") ? text.slice(2) : null };
}
