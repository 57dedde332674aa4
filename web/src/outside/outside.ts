/**
 * The page's way out: a frame without a face, which makes requests to other hosts for the page around
 * it. The page itself may not (`connect-src 'self'`); this document may, and has nothing else in it.
 * The page makes the frame when a person first agrees to a request (docs/security.md).
 */
import type { OpenMessage } from "../outside-protocol.ts";
import { serveOutside } from "./requests.ts";

let isOpen = false;

window.addEventListener("message", ({ source, origin, data, ports }: MessageEvent<unknown>) => {
  const [port] = ports;
  const message = data as Partial<OpenMessage> | null;
  // What the browser tells of a message cannot be made up.
  const isOurPage =
    source === window.parent && window.parent !== window && origin === location.origin;
  if (!isOurPage || port === undefined || isOpen || message?.kind !== "transom-outside") {
    return;
  }
  if (message.version === 1) {
    isOpen = true;
    serveOutside(port, location.origin);
  }
});
