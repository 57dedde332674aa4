/** Which sites may ask at all, and for what. Pure. */
import type { ToFrame } from "../embed-protocol.ts";

/** A list this long is a mistake. */
const MAX_ORIGINS = 1000;
/** A question with a long context; pictures do not go to models of the browser. */
export const MAX_BODY_CHARACTERS = 4_000_000;
/** As many as the engine decodes together. */
export const MAX_REQUESTS = 8;

/**
 * What another site may ask. Not: loading and unloading by hand, deleting, pulling, and kept
 * responses, which hold conversations of others.
 */
const OFFERED: ReadonlySet<string> = new Set([
  "GET /v1/models",
  "POST /v1/chat/completions",
  "POST /v1/chat/completions/input_tokens",
  "POST /v1/completions",
  "POST /v1/embeddings",
  "POST /v1/messages",
  "POST /v1/messages/count_tokens",
  "GET /api/version",
  "GET /api/tags",
  "POST /api/chat",
  "POST /api/embed",
]);

/**
 * The sites of `embed.json`: `{"origins": ["https://a.example"]}`.
 *
 * @throws Error naming what is wrong with the file.
 */
export function readOrigins(file: unknown): ReadonlySet<string> {
  const { origins } = (file ?? {}) as { origins?: unknown };
  if (!Array.isArray(origins) || origins.length > MAX_ORIGINS) {
    throw new Error(`embed.json has no list "origins" of at most ${MAX_ORIGINS} sites.`);
  }
  return new Set(origins.map(readOrigin));
}

function readOrigin(text: unknown): string {
  const url = typeof text === "string" ? URL.parse(text) : null;
  // One spelling only, so that nothing else is let in: no path, no wildcard, no default port.
  if (url === null || url.origin !== text || url.hostname.includes("*") || !isTrustworthy(url)) {
    throw new Error(
      `embed.json: ${JSON.stringify(text)} is no origin such as https://a.example` +
        " (http only for localhost).",
    );
  }
  return url.origin;
}

/** A page that came over plain http may be anybody's. */
function isTrustworthy({ protocol, hostname }: URL): boolean {
  return (
    protocol === "https:" || (protocol === "http:" && /^(localhost|127\.0\.0\.1)$/.test(hostname))
  );
}

/** Why a request is not made; null where it is. */
export function refusalOf({ method, path, body }: ToFrame & { kind: "request" }): string | null {
  if (!OFFERED.has(`${method} ${path}`)) {
    return `${method} ${path} is not offered to other sites.`;
  }
  if ((body?.length ?? 0) > MAX_BODY_CHARACTERS) {
    return `The body has more than ${MAX_BODY_CHARACTERS} characters.`;
  }
  return null;
}
