/**
 * The service worker in Vite's development server, as a module that is read anew with each change: so
 * `npm run dev` answers the API in the page as the built page does. It keeps no files there, so that
 * nothing old is ever shown.
 */
import type { Plugin } from "vite";

const SOURCE = "/src/sw/service-worker.ts";

/** A Vite plugin for the page; a build has the service worker's own configuration. */
export function devServiceWorker(): Plugin {
  return {
    name: "transom-dev-service-worker",
    apply: "serve",
    configureServer(server) {
      server.middlewares.use((request, response, next) => {
        const [path = ""] = (request.url ?? "").split("?");
        if (path !== "/sw.js") {
          next();
          return;
        }
        response.setHeader("Content-Type", "text/javascript");
        // Browsers compare it and what it imports with what they have, each time.
        response.setHeader("Cache-Control", "no-cache");
        response.end(`import ${JSON.stringify(SOURCE)};\n`);
      });
    },
  };
}
