/**
 * A sandbox from the page's side: a hidden frame with Python in it, and the port to it.
 *
 * The page hands in Python's files, each checked by its digest: what has no origin cannot load them.
 * Ending it is removing the frame, whatever the program is doing.
 */
import { PythonBundle } from "../../api/python-bundle.ts";
import type { FrameMessage, RunMessage, StartMessage } from "../../sandbox/protocol.ts";
import { MEMORY_BYTES, START_SECONDS } from "./limits.ts";

const FRAME = "python.html";
const NEEDED = ["pyodide.js", "pyodide.asm.js", "pyodide.asm.wasm", "python_stdlib.zip"];
/** It is kept from the first program on; without it there is less to import. */
const WANTED = "python_more.zip";
const MAX_REASON_CHARACTERS = 500;

/** A sandbox that is ready for a program. */
export interface Sandbox {
  /** Hear the program that runs; one that has ended says nothing any more. */
  onMessage: (message: unknown) => void;
  run(code: string): void;
  end(): void;
}

/** @throws Error with the reason; `signal`'s own where it aborts. */
export type OpenSandbox = (signal: AbortSignal) => Promise<Sandbox>;

/** @param bundle absolute address of Python's files, with a slash at its end. */
export function sandboxOpener(bundle: () => string): OpenSandbox {
  return async (signal) => {
    signal.throwIfAborted();
    const files = readFiles(bundle());
    // Whoever waits below hears of it.
    files.catch(() => undefined);
    const frame = document.createElement("iframe");
    frame.hidden = true;
    frame.title = "Python";
    frame.setAttribute("aria-hidden", "true");
    frame.tabIndex = -1;
    frame.src = new URL(FRAME, document.baseURI).href;
    const { port1: port, port2: theirs } = new MessageChannel();
    const ends = new AbortController();
    const end = () => {
      ends.abort();
      port.close();
      frame.remove();
    };
    try {
      await new Promise<void>((resolve, reject) => {
        const late = setTimeout(() => {
          reject(new Error(`Python did not start within ${START_SECONDS} seconds.`));
        }, START_SECONDS * 1000);
        ends.signal.addEventListener("abort", () => {
          clearTimeout(late);
        });
        signal.addEventListener(
          "abort",
          () => {
            reject(reasonOf(signal));
          },
          { signal: ends.signal },
        );
        window.addEventListener(
          "message",
          ({ origin, source, data }: MessageEvent<FrameMessage>) => {
            if (origin !== location.origin || source !== frame.contentWindow) {
              return;
            }
            if (data.kind === "failed") {
              reject(notStarted(data.message));
              return;
            }
            files.then((start) => {
              if (!ends.signal.aborted) {
                const transfer = [theirs, ...Object.values(start.files)];
                frame.contentWindow?.postMessage(start, location.origin, transfer);
              }
            }, reject);
          },
          { signal: ends.signal },
        );
        port.onmessage = ({ data }: MessageEvent<unknown>) => {
          const { kind, message } = (data ?? {}) as { kind?: unknown; message?: unknown };
          if (kind === "ready") {
            resolve();
          } else {
            reject(notStarted(typeof message === "string" ? message : "it says nothing of why"));
          }
        };
        document.body.append(frame);
      });
    } catch (error) {
      end();
      throw error;
    }
    const sandbox: Sandbox = {
      onMessage: () => undefined,
      run(code) {
        const message: RunMessage = { kind: "run", code };
        port.postMessage(message);
      },
      end,
    };
    port.onmessage = ({ data }: MessageEvent<unknown>) => {
      sandbox.onMessage(data);
    };
    return sandbox;
  };
}

async function readFiles(url: string): Promise<StartMessage> {
  const bundle = await PythonBundle.open(url);
  const more = bundle.bytes(WANTED).catch(() => null);
  const files = await Promise.all(
    NEEDED.map(async (name) => [name, (await bundle.bytes(name)).buffer] as const),
  );
  const found = await more;
  return {
    kind: "start",
    files: Object.fromEntries(found === null ? files : [...files, [WANTED, found.buffer]]),
    lock: { ...bundle.lock, packages: {} },
    memoryBytes: MEMORY_BYTES,
  };
}

function notStarted(reason: string): Error {
  return new Error(`Python did not start: ${reason.slice(0, MAX_REASON_CHARACTERS)}`);
}

function reasonOf(signal: AbortSignal): Error {
  return signal.reason instanceof Error
    ? signal.reason
    : new DOMException("The program was stopped.", "AbortError");
}
