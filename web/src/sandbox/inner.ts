/** In the document without an origin: makes the worker, and passes on what it is given. */
import type { InnerMessage } from "./protocol.ts";

addEventListener(
  "message",
  ({ data: { script, ...start }, ports }: MessageEvent<InnerMessage>) => {
    const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
    // Chromium starts no module of a blob without an origin.
    const worker = new Worker(address);
    worker.onerror = ({ message }) => {
      parent.postMessage(message || "the worker did not start", "*");
    };
    worker.postMessage(start, [...Object.values(start.files), ...ports]);
  },
  { once: true },
);
