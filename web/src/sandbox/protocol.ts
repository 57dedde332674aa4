/**
 * Messages of the sandbox that programs run in.
 *
 *   page                    python.html                srcdoc, no origin            worker
 *     | <- here ------------- |                           |                           |
 *     | -- start, port -----> | -- start, port, script -> | -- start, port ---------> |
 *     | <- failed ----------- | <- failed --------------- |                           |
 *     | <======================== port: ready, output, image, …, done     ==========> |
 *     |   ======================= port: run ========================================> |
 *
 * python.html has our origin: it brings a policy that allows no connection, and headers that an isolated
 * page asks of its frames. What is in it has no origin, so no storage, no cookies, and nothing of the
 * page. The page ends a program by removing the frame. Whatever comes from the worker may be a lie:
 * `tools/python/hearing.ts` reads it.
 */

/** Files of Python by name, as the page has checked them. */
export type SandboxFiles = Readonly<Record<string, ArrayBuffer>>;

/** The page to the frame, with the port for the worker. */
export interface StartMessage {
  kind: "start";
  files: SandboxFiles;
  /** Pyodide's lock file, without packages. */
  lock: object;
  /** Python's memory at most. */
  memoryBytes: number;
}

/** The frame to the page. */
export type FrameMessage = { kind: "here" } | { kind: "failed"; message: string };

/** The frame to the document in it. */
export interface InnerMessage extends StartMessage {
  /** Text of the worker's script. */
  script: string;
}

/** The page to the worker. */
export interface RunMessage {
  kind: "run";
  code: string;
}

/** The worker to the page: `output`, `image` and `value` belong to the program that runs. */
export type WorkerMessage =
  | { kind: "ready" }
  | { kind: "failed"; message: string }
  | { kind: "output"; text: string }
  | { kind: "image"; mediaType: string; base64: string }
  /** What the last expression gave, as Python writes it. */
  | { kind: "value"; text: string }
  | { kind: "error"; text: string }
  /** No other program can run: variables hold all the memory, or Python itself has failed. */
  | { kind: "spent" }
  | { kind: "done" };
