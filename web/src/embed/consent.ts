/**
 * The window in which the visitor answers a site that wants to use models.
 *
 * A window of its own, because a site can lay anything over a frame in its page, but nothing over
 * this. Which site it is comes from our own frame, which the browser told; an address could lie.
 */
import type { AskVisitor, FromVisitor } from "../embed-protocol.ts";
import { byId } from "./dom.ts";

const opener = window.opener as Window | null;

function answer(message: FromVisitor): void {
  opener?.postMessage(message, location.origin);
}

function decide(message: FromVisitor): void {
  answer(message);
  window.close();
}

window.addEventListener("message", ({ source, origin, data }: MessageEvent<AskVisitor>) => {
  // Only a frame of our own origin knows who asks.
  if (source === null || source !== opener || origin !== location.origin) {
    return;
  }
  byId("question", HTMLHeadingElement).textContent = "May this site use your models?";
  byId("site", HTMLParagraphElement).textContent = data.origin;
  byId("explained", HTMLDivElement).hidden = false;
  byId("nobody", HTMLParagraphElement).hidden = true;
  byId("decline", HTMLButtonElement).focus();
});
byId("once", HTMLButtonElement).addEventListener("click", () => {
  decide({ kind: "agreed", isRemembered: false });
});
byId("always", HTMLButtonElement).addEventListener("click", () => {
  decide({ kind: "agreed", isRemembered: true });
});
byId("decline", HTMLButtonElement).addEventListener("click", () => {
  decide({ kind: "declined" });
});
answer({ kind: "ready" });
