/**
 * Every message between the page and its way out: the frame `outside.html`, the only document of ours
 * that may talk to other hosts. Types and limits only; docs/security.md tells why there is one.
 *
 *   page (tools/outside-door.ts)             frame (outside/outside.ts)
 *    | -- open (port P) ---------------------> |  from the page around it, and nobody else
 *    | <-- P: ready -------------------------- |
 *    | -- P: request, pull, cancel ----------> |  a fetch without cookies and referrer
 *    | <-- P: head, chunk, end, failed ------- |  a chunk for each pull
 *
 * Bodies of answers come piece by piece. Those of requests go in one: browsers stream them over HTTP/2
 * only, and what tools send is a few kilobytes of JSON.
 */

/** page -> frame, as a window message; a port is transferred with it. */
export interface OpenMessage {
  kind: "transom-outside";
  /** Of these messages. */
  version: 1;
}

type Headers = readonly (readonly [name: string, value: string])[];

/** page -> frame, on P. */
export type ToOutside =
  | {
      kind: "request";
      id: number;
      url: string;
      method: string;
      headers: Headers;
      body: Uint8Array<ArrayBuffer> | null;
      /** "manual": a redirect is told (`isRedirect`), and not followed. */
      redirect: "follow" | "manual";
    }
  /** One more chunk, please. */
  | { kind: "pull"; id: number }
  | { kind: "cancel"; id: number };

/** frame -> page, on P. */
export type FromOutside =
  | { kind: "ready" }
  | {
      kind: "head";
      id: number;
      /** After redirects. */
      url: string;
      status: number;
      statusText: string;
      headers: Headers;
      isRedirect: boolean;
    }
  | { kind: "chunk"; id: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end"; id: number }
  | { kind: "failed"; id: number; reason: string };

/** A few servers, each with a stream that stays open, and calls beside it. */
export const MAX_REQUESTS = 32;
/** Arguments of a call with a picture in them. */
export const MAX_BODY_BYTES = 16 * 1024 * 1024;
/** As servers take them: 64 headers of a few hundred characters. */
export const MAX_HEADERS = 64;
export const MAX_HEADER_CHARACTERS = 16 * 1024;
/** Longer addresses are refused by servers, too. */
export const MAX_URL_CHARACTERS = 8192;
