/**
 * The headers that `transom serve` sends, for static hosts that cannot.
 *
 * A worker hears its policy from a header only; and with the isolation headers, threads may share
 * memory from the second visit on. A frame in an isolated page has to say that it is isolated, too.
 */
import { OWN_DIRECTIVES, policyOf } from "../../content-security-policy.ts";

const PAGE = "index.html";
/** Others may be made for frames of other sites. */
const DOCUMENTS: readonly string[] = [PAGE, ...Object.keys(OWN_DIRECTIVES)];

/**
 * The response as it is where its host sent a policy.
 *
 * @param document the file's name, of a page.
 */
export function withPolicies(response: Response, document: string = PAGE): Response {
  if (
    !response.ok ||
    response.headers.has("Content-Security-Policy") ||
    !DOCUMENTS.includes(document)
  ) {
    return response;
  }
  const headers = new Headers(response.headers);
  headers.set("Content-Security-Policy", policyOf(document));
  headers.set("Cross-Origin-Opener-Policy", "same-origin");
  headers.set("Cross-Origin-Embedder-Policy", "require-corp");
  const { status, statusText } = response;
  return new Response(response.body, { status, statusText, headers });
}
