/**
 * What the service worker says by itself where neither this browser nor a server answers: an error in
 * the dialect of the address, as `pyserver` writes them. Pure.
 */

/** Statuses that it has to say: OpenAI's type, Anthropic's type and its own status for that. */
const KINDS = {
  413: ["invalid_request_error", "request_too_large", 413],
  503: ["server_error", "overloaded_error", 529],
} as const;

export type OwnStatus = keyof typeof KINDS;

/** When whoever could not be served may come again. */
const RETRY_SECONDS = "5";

export function ownError(
  status: OwnStatus,
  message: string,
  target: string,
  request: { headers: Headers },
): Response {
  const [openai, anthropic, anthropicStatus] = KINDS[status];
  const headers = new Headers({ "Content-Type": "application/json", "Cache-Control": "no-store" });
  if (status === 503) {
    headers.set("Retry-After", RETRY_SECONDS);
  }
  const isAnthropic =
    target.startsWith("/v1/messages") ||
    (target.startsWith("/v1/") && request.headers.has("anthropic-version"));
  const body = target.startsWith("/api/")
    ? { error: message }
    : isAnthropic
      ? { type: "error", error: { type: anthropic, message }, request_id: null }
      : { error: { message, type: openai, param: null, code: null } };
  return new Response(JSON.stringify(body), {
    status: isAnthropic ? anthropicStatus : status,
    headers,
  });
}
