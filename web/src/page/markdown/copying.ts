/** Copies what stands in a block of code, and says so. */
import { make } from "./code-block.ts";
import { iconOf } from "./icon-copy.ts";
import type { Labels } from "./labels.ts";

/** How long a button says that it copied; in milliseconds. */
const SAID_FOR = 2000;

export async function copyCode(button: HTMLElement, labels: Labels): Promise<void> {
  const code = button.closest(".md-code-block")?.querySelector("code")?.textContent ?? "";
  const isCopied = await copyText(code.replace(/\n$/, ""));
  announce(isCopied ? labels.copied : labels.notCopied);
  const word = button.querySelector("span");
  if (isCopied && word !== null) {
    word.textContent = labels.copied;
    button.querySelector("svg")?.replaceWith(iconOf("check"));
    setTimeout(() => {
      word.textContent = labels.copy;
      button.querySelector("svg")?.replaceWith(iconOf("copy"));
    }, SAID_FOR);
  }
}

/** False: the browser does not allow it. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text);
  }
}

/** Without permission, or on a page that came by plain HTTP, where there is no clipboard. */
function copyBySelection(text: string): boolean {
  const before = document.activeElement;
  const field = make("textarea", "hidden");
  field.value = text;
  field.readOnly = true;
  document.body.append(field);
  field.select();
  try {
    // Deprecated, and the only way there.
    // eslint-disable-next-line @typescript-eslint/no-deprecated
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    field.remove();
    if (before instanceof HTMLElement) {
      before.focus();
    }
  }
}

/** To screen readers, in a place that stands before there is something to say. */
function announce(words: string): void {
  let place = document.querySelector<HTMLElement>("#md-announcer");
  if (place === null) {
    place = make("p", "hidden");
    place.id = "md-announcer";
    place.setAttribute("role", "status");
    document.body.append(place);
  }
  const said = place;
  said.textContent = "";
  setTimeout(() => {
    said.textContent = words;
  }, 100);
}
