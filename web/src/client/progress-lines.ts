/**
 * What a server tells while it works: Ollama's statuses, one line of JSON each, until the work ends.
 * Pure but for the stream.
 */
import { TransomError, describe } from "../errors.ts";
import { apiError } from "./api-errors.ts";

/** A status is a sentence and three figures. */
const MAX_LINE_LENGTH = 64 * 1024;

/** One status. */
export interface WorkStatus {
  /** In the server's words. */
  text: string;
  /** Bytes; null where the step has none. */
  doneBytes: number | null;
  totalBytes: number | null;
}

/** Adds up the bytes of a work whose files come side by side. */
export class WorkMeter {
  readonly #files = new Map<string, { done: number; total: number }>();

  /** @returns the status with the bytes of all files so far. */
  add(line: Record<string, unknown>): WorkStatus {
    const { status, digest, total, completed } = line;
    const text = typeof status === "string" ? status : "";
    if (typeof total !== "number") {
      return { text, doneBytes: null, totalBytes: null };
    }
    const key = typeof digest === "string" ? digest : text;
    this.#files.set(key, { done: typeof completed === "number" ? completed : 0, total });
    if (typeof digest !== "string") {
      return { text, doneBytes: this.#files.get(key)?.done ?? 0, totalBytes: total };
    }
    const files = [...this.#files.values()];
    return {
      text,
      doneBytes: files.reduce((sum, file) => sum + file.done, 0),
      totalBytes: files.reduce((sum, file) => sum + file.total, 0),
    };
  }
}

/**
 * Read to the end of the work.
 *
 * @throws TransomError in the server's words when the work failed; `network` when its connection
 *   ended before it did; what `signal` was aborted with.
 */
export async function readWork(
  response: Response,
  onStatus: (status: WorkStatus) => void,
  signal?: AbortSignal,
): Promise<void> {
  const meter = new WorkMeter();
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  let rest = "";
  // Only a call says so, which the checker does not see.
  let isOver = false as boolean;
  const take = (line: string) => {
    const row = parse(line);
    if (row["error"] !== undefined) {
      throw apiError(row["error"], "The server could not do it.", "invalid-request");
    }
    const status = meter.add(row);
    isOver ||= status.text === "success";
    onStatus(status);
  };
  try {
    for (let done = reader === undefined; reader !== undefined && !done;) {
      const chunk = await next(reader, signal);
      ({ done } = chunk);
      rest += decoder.decode(chunk.value, { stream: !done });
      const lines = rest.split("\n");
      rest = done ? "" : (lines.pop() ?? "");
      if (rest.length > MAX_LINE_LENGTH) {
        throw new TransomError("network", "The server sent a line that is no status.");
      }
      lines.filter((line) => line.trim() !== "").forEach(take);
    }
  } finally {
    // The server ends the work of a client that is gone.
    reader?.cancel().catch(() => undefined);
  }
  if (!isOver) {
    throw new TransomError(
      "network",
      "The connection ended before the work did; try again, it goes on where it was.",
    );
  }
}

async function next(reader: ReadableStreamDefaultReader<Uint8Array>, signal?: AbortSignal) {
  try {
    return await reader.read();
  } catch (error) {
    signal?.throwIfAborted();
    throw new TransomError("network", `The connection broke off: ${describe(error)}.`, {
      cause: error,
    });
  }
}

function parse(line: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(line);
    if (typeof value === "object" && value !== null) {
      return value as Record<string, unknown>;
    }
  } catch {
    // Told below, as what is JSON but no object.
  }
  throw new TransomError("network", `The server's progress is garbled: "${line.slice(0, 80)}".`);
}
