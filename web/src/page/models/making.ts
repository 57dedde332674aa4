/** A file of this device becomes a model of the server: digest, upload, and what the server makes of it. */
import type { EngineClient } from "../../client/engine-client.ts";
import type { ServerModels } from "../../client/server-models.ts";
import type { Task } from "./models-types.ts";

export interface Making {
  engine: Pick<EngineClient, "digest">;
  server: Pick<ServerModels, "upload" | "create" | "discard">;
  file: File;
  /** Of the model. */
  name: string;
  tell: (what: Partial<Task>) => void;
  signal: AbortSignal;
}

/** Stopped, it takes back what it sent. @throws TransomError in the server's words. */
export async function makeOnServer(making: Making): Promise<void> {
  const { engine, server, file, name, tell, signal } = making;
  tell({ phase: "hash", doneBytes: 0, totalBytes: file.size });
  const hashed = { path: file.name, content: file };
  const onBytes = (doneBytes: number) => {
    tell({ doneBytes });
  };
  const digest = await engine.digest(
    hashed,
    ({ doneBytes }) => {
      onBytes(doneBytes);
    },
    signal,
  );
  tell({ phase: "send", doneBytes: 0 });
  const wasSent = await server.upload(file, digest, onBytes, signal);
  tell({ phase: "work", doneBytes: null, totalBytes: null });
  try {
    const notes = await server.create(
      { model: name, fileName: file.name, digest },
      ({ text, doneBytes, totalBytes }) => {
        tell({ step: text, doneBytes, totalBytes });
      },
      signal,
    );
    tell({ notes });
  } catch (failure) {
    // A connection that ended is another thing: who tries again need not send it again.
    if (signal.aborted && wasSent) {
      void server.discard(digest);
    }
    throw failure;
  }
}
