/**
 * The few things of a browser that WebLLM asks for, for Node: plain small stand-ins.
 *
 * `caches` keeps its files in a folder, so that a second process finds what the first one fetched.
 * WebGPU is Dawn, as our engine opens it. WebLLM's own code stays as npm has it.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { openDawn } from "../../../web/dist-node/dawn.mjs";

/** One named cache: for each address a file of its bytes and one of its address and headers. */
class FolderCache {
  #folder;

  constructor(folder) {
    this.#folder = folder;
  }

  async match(request) {
    const path = this.#pathOf(request);
    let about;
    try {
      about = JSON.parse(await readFile(`${path}.json`, "utf8"));
    } catch {
      return undefined;
    }
    return new Response(await readFile(`${path}.bin`), { headers: about.headers });
  }

  async add(request) {
    const response = await fetch(request);
    if (!response.ok) {
      throw new TypeError(`${addressOf(request)} answered ${response.status}`);
    }
    await this.put(request, response);
  }

  async put(request, response) {
    const path = this.#pathOf(request);
    await mkdir(this.#folder, { recursive: true });
    await writeFile(`${path}.bin`, new Uint8Array(await response.arrayBuffer()));
    const about = { url: addressOf(request), headers: [...response.headers] };
    await writeFile(`${path}.json`, JSON.stringify(about));
  }

  async delete(request) {
    const isThere = (await this.match(request)) !== undefined;
    await rm(`${this.#pathOf(request)}.json`, { force: true });
    return isThere;
  }

  async keys() {
    const names = await readdir(this.#folder).catch(() => []);
    const abouts = names.filter((name) => name.endsWith(".json"));
    return Promise.all(
      abouts.map(async (name) => {
        const { url } = JSON.parse(await readFile(join(this.#folder, name), "utf8"));
        return new Request(url);
      }),
    );
  }

  #pathOf(request) {
    const name = createHash("sha256").update(addressOf(request)).digest("hex");
    return join(this.#folder, name);
  }
}

function addressOf(request) {
  return typeof request === "string" ? request : (request.url ?? request.href);
}

/** Make this process look enough like a page. @param cacheFolder where `caches` keeps its files. */
export function standInForBrowser(cacheFolder) {
  // With the same patience for the GPU as our engine has.
  const navigator = { gpu: openDawn(), userAgent: "Node" };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  globalThis.self = globalThis;
  globalThis.location = { origin: "http://127.0.0.1", href: "http://127.0.0.1/" };
  // What Emscripten made of WebLLM's C++ asks where it is: this is a worker, and no Node.
  globalThis.importScripts = () => undefined;
  delete globalThis.process;
  globalThis.caches = {
    open: async (name) => new FolderCache(join(cacheFolder, encodeURIComponent(name))),
  };
}
