/** The page's icons for what is not made by Preact. */
import { createElement, render } from "preact";

import { Icon, type IconName } from "../ui/icon.tsx";

const drawn = new Map<IconName, Node>();

/** A drawing of one's own of the icon. */
export function iconOf(name: IconName): Node {
  let icon = drawn.get(name);
  if (icon === undefined) {
    const host = document.createElement("span");
    render(createElement(Icon, { name }), host);
    icon = host.firstChild ?? host;
    drawn.set(name, icon);
  }
  return icon.cloneNode(true);
}
