/**
 * What the API asks of the page's engine, from the command line on Dawn: for tests.
 *
 *   node complete.mjs --bundle DIR --library program-f32.json --requests FILE
 *
 * `--requests` is a JSON list of `{ request, abortAfter }`: a `CompleteRequest` (api-protocol.ts), and
 * after how many token events it is aborted (left out: never). All run together. Prints one JSON
 * object per line: first what the model tells of itself (`OpenedModel`), then one per request with its
 * `events` and its `error`, null where there was none. Exits as generate.mjs does.
 */
import { readFile } from "node:fs/promises";
import { parseArgs } from "node:util";

import type { CompleteEvent, CompleteRequest } from "../api-protocol.ts";
import { TransomError, type WireError, toWireError } from "../errors.ts";
import type { ChatModel } from "../worker/chat-model.ts";
import { loadModel, requireChat } from "../worker/load.ts";
import { openedModel } from "../worker/model-facts.ts";
import { BundleFolder } from "./bundle-folder.ts";
import { findLibrary, runCommand } from "./command.ts";
import { openDawn } from "./dawn.ts";

interface Asked {
  request: CompleteRequest;
  abortAfter?: number;
}

const USAGE = "usage: complete.mjs --bundle DIR --library FILE --requests FILE";

async function readRequests(path: string): Promise<Asked[]> {
  const rows = JSON.parse(await readFile(path, "utf8")) as unknown;
  const isAsked = (row: unknown): row is Asked =>
    typeof row === "object" && row !== null && "request" in row;
  if (!Array.isArray(rows) || !rows.every(isAsked)) {
    throw new TransomError("invalid-request", `${path} must be a list of objects with a request.`);
  }
  return rows;
}

async function answer(
  model: ChatModel,
  { request, abortAfter = Infinity }: Asked,
): Promise<{ events: CompleteEvent[]; error: WireError | null }> {
  const events: CompleteEvent[] = [];
  const controller = new AbortController();
  try {
    await model.completeText(
      { request },
      (event) => {
        events.push(event);
        if (events.length >= abortAfter) {
          controller.abort();
        }
      },
      controller.signal,
    );
    return { events, error: null };
  } catch (error) {
    return { events, error: toWireError(error) };
  }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string" },
      library: { type: "string" },
      requests: { type: "string" },
    },
  });
  const { bundle, library, requests } = values;
  if (bundle === undefined || library === undefined || requests === undefined) {
    throw new TransomError("invalid-request", USAGE);
  }
  const asked = await readRequests(requests);
  const loaded = await loadModel(
    { ...(await findLibrary(bundle, library)), pipelines: "lazy" },
    { gpu: openDawn(), openBundle: (meter) => new BundleFolder(bundle, meter) },
    () => undefined,
  );
  const model = requireChat(loaded);
  console.log(JSON.stringify(openedModel(loaded.facts, loaded.report)));
  for (const row of await Promise.all(asked.map((each) => answer(model, each)))) {
    console.log(JSON.stringify(row));
  }
}

runCommand(main);
