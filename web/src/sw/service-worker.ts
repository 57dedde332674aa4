/**
 * The service worker: answers the API's requests (`answering.ts`), and serves the page's own files
 * (`precache.ts`). Both listen for `fetch`; none answers what is the other's.
 */
/// <reference lib="webworker" />
import files from "virtual:build-files";

import { SERVED_BY_HEADER, type ToPage, type ToServiceWorker } from "../api-protocol.ts";
import { live } from "../life.ts";
import { Answering } from "./answering.ts";
import { watchClient } from "./client-watch.ts";
import { Leaders } from "./leaders.ts";
import { Leaving } from "./leaving.ts";
import { Precache } from "./precache.ts";
import { apiTarget } from "./routing.ts";

declare const self: ServiceWorkerGlobalScope;

const { scope } = self.registration;

const leaders = new Leaders(scope, self.navigator.locks, async (message) => {
  for (const page of await self.clients.matchAll({ type: "window", includeUncontrolled: true })) {
    if (page.url.startsWith(scope)) {
      page.postMessage(message);
    }
  }
});
const id = crypto.randomUUID();
const answering = new Answering({ id, lives: live(id, self.navigator.locks) }, leaders);
const precache = new Precache(files, {
  scope,
  caches: self.caches,
  locks: self.navigator.locks,
  registration: self.registration,
  fetch: (input, init) => self.fetch(input, init),
});

const leaving = new Leaving();

self.addEventListener("install", (event) => {
  event.waitUntil(
    precache.install(event).then(async () => {
      // The first one begins at once; a later one waits, and pages may call it (`update`).
      if (self.registration.active !== null) {
        for (const page of await self.clients.matchAll({ includeUncontrolled: true })) {
          page.postMessage({ kind: "update-ready" } satisfies ToPage);
        }
      }
    }),
  );
});

self.addEventListener("activate", (event) => {
  event.waitUntil(precache.prune());
});

self.addEventListener("fetch", (event) => {
  const target = apiTarget(event.request.url, scope);
  if (target !== null && event.request.headers.get(SERVED_BY_HEADER) === "server") {
    // The page asks what the server has (`client/catalogue.ts`); that goes past everybody here.
    return;
  }
  if (target !== null) {
    const client = watchClient(event.clientId, self.clients);
    const answer = answering.answer(event.request, target, client.left, leaving.signal);
    event.respondWith(answer.finally(client.stop));
    return;
  }
  const file = precache.answer(event.request, event, leaving.signal);
  if (file !== null) {
    event.respondWith(file);
  }
});

self.addEventListener("message", (event) => {
  const message = event.data as ToServiceWorker;
  switch (message.kind) {
    case "leads":
    case "unable":
    case "place":
      leaders.receive(message);
      return;
    case "claim":
      // A page that was loaded past the service worker, or before there was one, wants to be answered.
      event.waitUntil(self.clients.claim());
      return;
    case "update":
      event.waitUntil(self.skipWaiting());
      return;
    case "leave":
      leaving.begin();
      event.source?.postMessage({ kind: "left" } satisfies ToPage);
      return;
  }
});
