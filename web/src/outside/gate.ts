/** What may go out, as far as it can be told before. Pure. */
import {
  MAX_BODY_BYTES,
  MAX_HEADER_CHARACTERS,
  MAX_HEADERS,
  MAX_URL_CHARACTERS,
  type ToOutside,
} from "../outside-protocol.ts";

/** What tools and MCP use; `CONNECT` and `TRACE` browsers refuse by themselves. */
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "DELETE"]);
/** As in the policy of `outside.html`: what goes over plain http must not leave this machine. */
const LOCAL: ReadonlySet<string> = new Set(["localhost", "127.0.0.1"]);

/**
 * Why a request is not made; null where it is.
 *
 * @param home our own origin: what the page has and may do there is none of a tool's business.
 */
export function refusalOf(request: ToOutside & { kind: "request" }, home: string): string | null {
  const { url, method, headers, body } = request;
  if (url.length > MAX_URL_CHARACTERS) {
    return `The address has more than ${MAX_URL_CHARACTERS} characters.`;
  }
  const address = URL.parse(url);
  if (address === null) {
    return "That is no address.";
  }
  const isLocal = address.protocol === "http:" && LOCAL.has(address.hostname);
  if (address.protocol !== "https:" && !isLocal) {
    return "Only https: addresses can be asked, and http: ones of this machine (localhost).";
  }
  if (address.origin === home) {
    return "That address is of this page itself.";
  }
  if (address.username !== "" || address.password !== "") {
    return "The address holds a name or password; leave them out.";
  }
  if (!METHODS.has(method)) {
    return `The method ${method.slice(0, 20)} is not used here.`;
  }
  const characters = headers.reduce((sum, [name, value]) => sum + name.length + value.length, 0);
  if (headers.length > MAX_HEADERS || characters > MAX_HEADER_CHARACTERS) {
    return `The headers are more than ${MAX_HEADERS}, or have more than ${MAX_HEADER_CHARACTERS} characters.`;
  }
  if ((body?.byteLength ?? 0) > MAX_BODY_BYTES) {
    return `The body has more than ${MAX_BODY_BYTES} bytes.`;
  }
  return null;
}
