/**
 * The key that a server of this page wants (`docs/keys.md`), as the visitor gave it, and the requests
 * that it goes with: those of this page's own folder, and only where a server of ours is behind it.
 * A static host is somebody else's, and so is every other origin: neither ever gets it.
 */
import { TransomError } from "../errors.ts";

const KEY = "transom-api-key";
/** Ours have 50 characters; keys of proxies in front of a server may be longer. */
const MAX_KEY_LENGTH = 1024;
/** What a header may hold: printable ASCII without spaces. */
const SOUND = /^[\x21-\x7e]+$/;

type Fetch = (input: URL | RequestInfo, init?: RequestInit) => Promise<Response>;
type Kept = Pick<Storage, "getItem" | "setItem" | "removeItem">;

/** Null: the visitor gave none, or this browser keeps nothing. */
export function readApiKey(storage: () => Kept = () => localStorage): string | null {
  try {
    const key = storage().getItem(KEY);
    return key !== null && isSound(key) ? key : null;
  } catch {
    return null; // a browser may keep nothing, and says so by throwing; workers have no such storage
  }
}

/**
 * For this and later visits, of all pages of the origin.
 *
 * @param key null or "": none from now on.
 * @throws TransomError `invalid-request` for what cannot be a key; `no-room` where nothing is kept.
 */
export function keepApiKey(key: string | null, storage: () => Kept = () => localStorage): void {
  const trimmed = (key ?? "").trim();
  if (trimmed !== "" && !isSound(trimmed)) {
    throw new TransomError(
      "invalid-request",
      "This is no key: it has letters, digits and signs, and no spaces.",
    );
  }
  try {
    if (trimmed === "") {
      storage().removeItem(KEY);
    } else {
      storage().setItem(KEY, trimmed);
    }
  } catch {
    throw new TransomError("no-room", "This browser keeps nothing for this site, also no key.");
  }
}

export interface KeyedOptions {
  /** Of the page, or of its folder. */
  baseUrl: string;
  host: "server" | "layout";
  key?: () => string | null;
  fetch?: Fetch;
}

/**
 * `fetch` that shows the key to the page's server. A request that names its own keeps it. One that
 * carries the key follows no redirect: who knows where to.
 */
export function keyedFetch({
  baseUrl,
  host,
  key = readApiKey,
  fetch = (...request) => globalThis.fetch(...request),
}: KeyedOptions): Fetch {
  const folder = new URL(".", baseUrl).href;
  return (input, init) => {
    const given = input instanceof Request ? input : null;
    const url = new URL(input instanceof Request ? input.url : input, folder).href;
    const known = host === "server" && url.startsWith(folder) ? key() : null;
    const headers = new Headers(init?.headers ?? given?.headers);
    if (known === null || headers.has("Authorization")) {
      return fetch(input, init);
    }
    headers.set("Authorization", `Bearer ${known}`);
    return fetch(input, { ...init, headers, redirect: "error" });
  };
}

function isSound(key: string): boolean {
  return key.length <= MAX_KEY_LENGTH && SOUND.test(key);
}
