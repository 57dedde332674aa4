/**
 * Entry of the API worker: Python answers HTTP here. The walk:
 *
 *   start -> Python and its host (`python.ts`), the engine's calls on port E (`engine-port.ts`)
 *   serve -> requests on port A; each has a port R of its own (`http-answer.ts`)
 *
 * Requests wait for Python to have started; where it does not start, each is refused with the reason,
 * so that a server gets it. Knows no HTTP: what a request means is Python's matter.
 */
import type { ApiNews, HttpRequest, PingApi, ServeApi, StartApi } from "../api-protocol.ts";
import { toWireError } from "../errors.ts";
import { whenGone } from "../life.ts";
import { EnginePort } from "./engine-port.ts";
import { Requests } from "./requests.ts";
import { type PythonHost, startHost } from "./python.ts";

let started: (host: Promise<PythonHost>) => void;
const requests = new Requests(
  new Promise((resolve) => {
    started = resolve;
  }),
  (isAtWork) => {
    tell({ kind: "at-work", isAtWork });
  },
);

/** Those that have asked something and live. */
const serviceWorkers = new Set<string>();

self.addEventListener("message", ({ data }: MessageEvent<StartApi | ServeApi | PingApi>) => {
  switch (data.kind) {
    case "start":
      started(start(data));
      return;
    case "ping":
      tell({ kind: "pong" });
      return;
    case "serve":
      data.port.addEventListener("message", (event: MessageEvent<HttpRequest>) => {
        const { from } = event.data;
        requests.answer(event.data);
        if (!serviceWorkers.has(from)) {
          serviceWorkers.add(from);
          void whenGone(from, navigator.locks).then(() => {
            serviceWorkers.delete(from);
            requests.leave(from);
          });
        }
      });
      data.port.start();
  }
});

async function start({ bundleUrl, engine }: StartApi): Promise<PythonHost> {
  const begin = performance.now();
  try {
    const port = new EnginePort(engine, (model) => {
      tell({ kind: "rendering", model });
    });
    const host = await startHost(bundleUrl, port);
    tell({ kind: "started", seconds: (performance.now() - begin) / 1000 });
    return host;
  } catch (error) {
    tell({ kind: "failed", error: toWireError(error) });
    throw error;
  }
}

function tell(news: ApiNews): void {
  self.postMessage(news);
}
