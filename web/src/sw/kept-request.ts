/**
 * A request with its body in memory, so that it can be asked twice: here first, and the server where this
 * browser cannot.
 */

/** Of a conversation with pictures; the server's own cap (`transom_server/http/request_body.py`). */
export const MAX_BODY_BYTES = 64 * 1024 * 1024;

export interface KeptRequest {
  readonly method: string;
  readonly url: string;
  /** From the API's root: `routing.ts`. */
  readonly target: string;
  readonly headers: Headers;
  /** Null where the request has none. */
  readonly body: ArrayBuffer | null;
  /** Aborted when nobody waits for the answer any more. */
  readonly signal: AbortSignal;
}

/** The body is larger than `MAX_BODY_BYTES`. */
export class BodyTooLarge extends Error {
  override readonly name = "BodyTooLarge";
}

/**
 * @param signal aborted when nobody waits for the answer any more.
 * @throws BodyTooLarge; whatever reading the body throws.
 */
export async function keepRequest(
  request: Request,
  target: string,
  signal: AbortSignal,
): Promise<KeptRequest> {
  const { method, url, headers } = request;
  const body = method === "GET" || method === "HEAD" ? null : await readBody(request);
  return { method, url, target, headers, body, signal };
}

/** The server's answer to the same request. @throws TypeError where it is not reached. */
export function askServer(kept: KeptRequest): Promise<Response> {
  const { method, url, headers, body, signal } = kept;
  // A key is for this server, not for whomever it would send us to.
  const redirect = headers.has("Authorization") ? "error" : "follow";
  return fetch(url, { method, headers, body, signal, cache: "no-store", redirect });
}

async function readBody(request: Request): Promise<ArrayBuffer | null> {
  // Firefox has no `Request.body`; there the cap counts afterwards.
  const reader = request.body?.getReader();
  if (reader === undefined) {
    const body = await request.arrayBuffer();
    if (body.byteLength > MAX_BODY_BYTES) {
      throw new BodyTooLarge();
    }
    return body.byteLength === 0 ? null : body;
  }
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) {
      break;
    }
    bytes += value.byteLength;
    if (bytes > MAX_BODY_BYTES) {
      await reader.cancel();
      throw new BodyTooLarge();
    }
    chunks.push(value);
  }
  return bytes === 0 ? null : joined(chunks, bytes);
}

/** A `Blob` could do it, and would send all to the browser's process and back. */
function joined(chunks: readonly Uint8Array<ArrayBuffer>[], bytes: number): ArrayBuffer {
  const whole = new Uint8Array(bytes);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole.buffer;
}
