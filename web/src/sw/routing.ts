/**
 * Which requests are the API's: those under `v1/` and `api/` of the service worker's own folder, and
 * under the origin's root, where clients ask that know nothing of folders. Pure.
 */

/** What the server takes for its APIs, too (`pyserver/transom_server/routes/web.py`). */
const API = /^(?:(?:v1|api)(?:\/|$)|(?:de)?tokenize$|rerank(?:ing)?$)/;
/** Files of models, larger than what can be kept for a second try; only a server takes them. */
const BLOBS = "/api/blobs/";

/**
 * Path and query of a request from the API's root, wherever the page stands: `/v1/models?limit=2`.
 *
 * @param scope the service worker's folder, absolute, with a slash at its end.
 * @returns null for what is none of the API's.
 */
export function apiTarget(url: string, scope: string): string | null {
  const { origin, pathname, search } = new URL(url);
  const home = new URL(scope);
  if (origin !== home.origin) {
    return null;
  }
  for (const root of [home.pathname, "/"]) {
    const path = pathname.startsWith(root) ? pathname.slice(root.length) : "";
    if (API.test(path)) {
      return `/${path}${search}`;
    }
  }
  return null;
}

/** Whether a request's body may be too large to be read here. */
export function carriesBlob(target: string): boolean {
  return target.startsWith(BLOBS);
}
