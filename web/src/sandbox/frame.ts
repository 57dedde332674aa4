/**
 * The frame of our origin around the sandbox: hands in what the page gives, and hears of a failed start.
 * Knows no program; what programs say goes past it, on the page's port.
 */
import { innerDocument, workerScript } from "virtual:python-sandbox";

import plotModule from "./plot.py?raw";
import programsModule from "./programs.py?raw";
import type { FrameMessage, InnerMessage, StartMessage } from "./protocol.ts";

/** Of a reason that comes out of the sandbox; it is one line for people. */
const MAX_REASON_CHARACTERS = 500;

function tell(message: FrameMessage): void {
  parent.postMessage(message, location.origin);
}

function encode(text: string): ArrayBuffer {
  return new TextEncoder().encode(text).buffer;
}

function start(message: StartMessage, ports: readonly MessagePort[]): void {
  const inner = document.createElement("iframe");
  inner.setAttribute("sandbox", "allow-scripts");
  inner.srcdoc = innerDocument;
  inner.addEventListener("load", () => {
    const files = {
      ...message.files,
      "plot.py": encode(plotModule),
      "programs.py": encode(programsModule),
    };
    const whole: InnerMessage = { ...message, files, script: workerScript };
    // What has no origin cannot be named by one.
    inner.contentWindow?.postMessage(whole, "*", [...Object.values(files), ...ports]);
  });
  window.addEventListener("message", ({ source, data }: MessageEvent<unknown>) => {
    if (source === inner.contentWindow && typeof data === "string") {
      tell({ kind: "failed", message: data.slice(0, MAX_REASON_CHARACTERS) });
    }
  });
  document.body.append(inner);
}

function hear({ origin, source, data, ports }: MessageEvent<StartMessage>): void {
  if (origin === location.origin && source === parent) {
    window.removeEventListener("message", hear);
    start(data, ports);
  }
}

if (parent !== window) {
  window.addEventListener("message", hear);
  tell({ kind: "here" });
}
