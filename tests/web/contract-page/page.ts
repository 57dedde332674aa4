/**
 * A page with a real house and a real API worker, and an engine that says what scripts tell it to:
 * tests/contract/api/test_browser.py.
 */
import { folder } from "virtual:pyodide-bundle";

import { type House, startHouse } from "../../../web/src/client/house.ts";
import { type Contract, ScriptedApiEngine } from "../fakes/scripted-api-engine.ts";

/** As `Request` of tests/contract/api/asking.py. */
interface Asked {
  method: string;
  path: string;
  headers: Readonly<Record<string, string>>;
  body: string | null;
}

/** As `Answer` of tests/contract/api/answers.py. */
interface Answered {
  status: number;
  headers: Readonly<Record<string, string>>;
  text: string;
}

declare global {
  interface Window {
    contract: { house: House; engine: ScriptedApiEngine; ask: typeof ask; leave: typeof leave };
  }
}

/** Several requests at once; answers in their order. */
function ask(requests: readonly Asked[]): Promise<readonly Answered[]> {
  return Promise.all(
    requests.map(async ({ method, path, headers, body }) => {
      const response = await fetch(path.slice(1), { method, headers, body });
      // `text()` would leave out a byte order mark.
      const bytes = await response.arrayBuffer();
      return {
        status: response.status,
        headers: Object.fromEntries(response.headers),
        text: new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes),
      };
    }),
  );
}

/** Ask for a stream, read so many chunks of it, and go. @returns what was read. */
async function leave({ method, path, headers, body }: Asked, chunks: number): Promise<string> {
  const controller = new AbortController();
  const { signal } = controller;
  const response = await fetch(path.slice(1), { method, headers, body, signal });
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (let count = 0; count < chunks; count++) {
    text += (await reader?.read())?.value ?? "";
  }
  controller.abort();
  return text;
}

const contract = (await (await fetch("contract.json")).json()) as Contract;
const engine = new ScriptedApiEngine(contract);
const house = startHouse({
  engine: () => engine,
  startApiWorker: () =>
    new Worker(new URL("../../../web/src/api/api-worker.ts", import.meta.url), { type: "module" }),
  bundleUrl: new URL(folder, document.baseURI).href,
  isStatic: true,
});
window.contract = { house, engine, ask, leave };
