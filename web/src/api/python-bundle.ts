/**
 * The files of Python for the page (`transom build pyodide`), each checked against its sha256.
 *
 * The folder's name has the digest of the lock file, which has those of the others; the browser
 * itself compares them (`integrity`). Scripts are imported like the page's own. Knows no Python.
 */
import { TransomError, describe } from "../errors.ts";

const LOCK_FILE = "pyodide-lock.json";
const WASM_TYPE = "application/wasm";

/** What `pyodide-lock.json` says; Pyodide reads more of it. */
export interface BundleLock {
  files: Readonly<Record<string, { bytes: number; sha256: string }>>;
  packages: Readonly<Record<string, { file_name: string }>>;
}

export class PythonBundle {
  readonly url: string;
  readonly lock: BundleLock;
  readonly #fetch: typeof fetch;
  readonly #started = new Map<string, Promise<Response>>();

  private constructor(url: string, lock: BundleLock, fetcher: typeof fetch) {
    this.url = url;
    this.lock = lock;
    this.#fetch = fetcher;
  }

  /**
   * @param url absolute, with a slash at its end.
   * @throws TransomError `network` or `digest-mismatch`.
   */
  static async open(url: string, fetcher: typeof fetch = fetch): Promise<PythonBundle> {
    const response = await get(fetcher, new URL(LOCK_FILE, url), {});
    const bytes = await response.arrayBuffer();
    const named = /\/python-([0-9a-f]+)\/$/.exec(url)?.[1];
    const digest = hexadecimal(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
    if (named !== undefined && !digest.startsWith(named)) {
      throw new TransomError("digest-mismatch", `${LOCK_FILE} is not the one in ${url}.`);
    }
    const lock = JSON.parse(new TextDecoder().decode(bytes)) as BundleLock;
    return new PythonBundle(url, lock, fetcher);
  }

  /** Files that Python finds modules in, apart from its standard library. */
  get wheels(): readonly string[] {
    return Object.values(this.lock.packages).map(({ file_name }) => file_name);
  }

  /** Send for a file, once; its response can be read once. @throws TransomError as `open`. */
  response(name: string): Promise<Response> {
    let started = this.#started.get(name);
    if (started === undefined) {
      started = this.#send(name);
      // Whoever wants the file hears of it; until then it is nobody's error.
      started.catch(() => undefined);
      this.#started.set(name, started);
    }
    return started;
  }

  async bytes(name: string): Promise<Uint8Array<ArrayBuffer>> {
    return new Uint8Array(await (await this.response(name)).arrayBuffer());
  }

  async #send(name: string): Promise<Response> {
    const entry = this.lock.files[name];
    if (entry === undefined) {
      throw new TransomError("internal", `${LOCK_FILE} has no ${name}.`);
    }
    const integrity = `sha256-${base64(entry.sha256)}`;
    const response = await get(this.#fetch, new URL(name, this.url), { integrity });
    // Browsers compile while they read only what is called wasm, and not every host knows the type.
    return name.endsWith(".wasm") && response.headers.get("Content-Type") !== WASM_TYPE
      ? new Response(response.body, { headers: { "Content-Type": WASM_TYPE } })
      : response;
  }
}

async function get(fetcher: typeof fetch, url: URL, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetcher(url, init);
  } catch (error) {
    // Browsers say no more of a digest that differs.
    throw new TransomError("network", `${url.pathname} was not loaded: ${describe(error)}.`, {
      cause: error,
    });
  }
  if (!response.ok) {
    throw new TransomError("network", `${url.pathname} was not loaded: HTTP ${response.status}.`);
  }
  return response;
}

function hexadecimal(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function base64(digits: string): string {
  const bytes = digits.match(/../g) ?? [];
  return btoa(String.fromCharCode(...bytes.map((pair) => Number.parseInt(pair, 16))));
}
