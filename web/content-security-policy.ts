/**
 * The page's Content-Security-Policy, written into the built page.
 *
 * Only files of this origin run or load. `wasm-unsafe-eval` lets the model library (wasm) be
 * compiled; it does not allow JavaScript's `eval`. A development server is left without the
 * policy, because Vite injects styles inline there.
 */
import type { Plugin } from "vite";

const DIRECTIVES = [
  "default-src 'none'",
  "script-src 'self' 'wasm-unsafe-eval'",
  "style-src 'self'",
  "img-src 'self' data:",
  "font-src 'self'",
  "connect-src 'self'",
  "worker-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
];

/** A Vite plugin that puts the policy first in the head of the built page. */
export function contentSecurityPolicy(): Plugin {
  return {
    name: "transom-content-security-policy",
    apply: "build",
    transformIndexHtml: () => [
      {
        tag: "meta",
        attrs: { "http-equiv": "Content-Security-Policy", content: DIRECTIVES.join("; ") },
        injectTo: "head-prepend",
      },
    ],
  };
}
