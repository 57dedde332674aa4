/**
 * The pages' Content-Security-Policies, written into the built pages.
 *
 * Only files of this origin run or load. `wasm-unsafe-eval` lets the model library (wasm) be
 * compiled; it does not allow JavaScript's `eval`. A development server is left without the
 * policies, because Vite injects styles inline there.
 */
import type { Plugin } from "vite";

/** Of every page that has none of its own. */
export const DIRECTIVES = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' data: blob:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "frame-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

/** Of pages that do one thing, by their file's name. */
export const OWN_DIRECTIVES: Readonly<Record<string, readonly string[]>> = {
  // Programs that models write run below it (src/sandbox). It connects to nothing and shows nothing;
  // `data:` and `blob:` are its own texts, made into a script and a worker of no origin.
  "python.html": [
    "default-src 'none'",
    "script-src 'self' data: blob: 'wasm-unsafe-eval'",
    "worker-src blob:",
    "base-uri 'none'",
    "form-action 'none'",
  ],
  // The one way to other hosts, for tools that a person agreed to (src/outside). It shows nothing, loads
  // nothing but its own script, and nobody but the page can ask it.
  "outside.html": [
    "default-src 'none'",
    "script-src 'self'",
    "connect-src https: http://localhost:* http://127.0.0.1:*",
    "base-uri 'none'",
    "form-action 'none'",
  ],
};

/** @param page its file's name. */
export function policyOf(page: string): string {
  return (OWN_DIRECTIVES[page] ?? DIRECTIVES).join("; ");
}

/** A Vite plugin that puts the policy first in the head of each built page. */
export function contentSecurityPolicy(): Plugin {
  return {
    name: "transom-content-security-policy",
    apply: "build",
    transformIndexHtml: (_, { path }) => [
      {
        tag: "meta",
        attrs: {
          "http-equiv": "Content-Security-Policy",
          content: policyOf(path.slice(path.lastIndexOf("/") + 1)),
        },
        injectTo: "head-prepend",
      },
    ],
  };
}
