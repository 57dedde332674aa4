/**
 * What this page's server does with models when it is asked: tell of one, fetch one from a registry,
 * take a file and make a model of it. Past the service worker always: the store is the server's.
 *
 * A file goes to the server in pieces (`/v2/…/blobs/uploads`), because of a web page no server takes
 * more at once; what has come stays for a day, so that an upload that broke off goes on.
 */
import { SERVED_BY_HEADER } from "../api-protocol.ts";
import { TransomError, describe } from "../errors.ts";
import { refusalOf } from "./api-errors.ts";
import { keyedFetch } from "./api-key.ts";
import { type ModelFacts, shortLicense } from "./model-cards.ts";
import { type WorkStatus, readWork } from "./progress-lines.ts";

/** The server takes 64 MiB of a page at once; a quarter of it costs little when a line drops. */
const PIECE_BYTES = 16 * 1024 * 1024;
/** After a failure the upload's place is asked, and goes on; so often without progress. */
const MAX_TRIES = 4;
const RETRY_MILLISECONDS = 1000;
/** What a status begins with that is for people to know, not a step. */
const NOTE = "note: ";
/** Whatever repository blobs come by, they are the store's. */
const UPLOADS = "v2/library/uploads/blobs/uploads/";
const BLOBS = "v2/library/uploads/blobs/";
const CREATED = 201;
/** Something still needs it: the work that was stopped, for as long as it takes to end, or a model. */
const NEEDED = 405;
/** The server wants a key, or another one, or lets nobody. */
const NOT_ALLOWED: ReadonlySet<number> = new Set([401, 403]);

type Fetch = (url: URL, init: RequestInit) => Promise<Response>;

export interface ServerModelsOptions {
  /** Of the page, or of its folder. */
  baseUrl: string;
  fetch?: Fetch;
  pieceBytes?: number;
  pause?: (milliseconds: number) => Promise<void>;
  /** Where an upload that broke off is to go on: addresses by digest, from an earlier page. */
  uploads?: {
    get(digest: string): Promise<string | null>;
    set(digest: string, address: string | null): Promise<void>;
  };
}

export class ServerModels {
  readonly #folder: string;
  readonly #options: ServerModelsOptions;
  readonly #fetch: Fetch;

  constructor(options: ServerModelsOptions) {
    this.#options = options;
    this.#folder = new URL(".", options.baseUrl).href;
    this.#fetch = options.fetch ?? keyedFetch({ baseUrl: options.baseUrl, host: "server" });
  }

  /** @throws TransomError in the server's words. */
  async show(model: string): Promise<ModelFacts> {
    const response = await this.#ask("api/show", { method: "POST", body: { model } });
    const body = (await response.json()) as Record<string, unknown>;
    const info = (body["model_info"] ?? {}) as Record<string, unknown>;
    const text = typeof body["license"] === "string" ? body["license"] : "";
    const id = info["general.license"];
    const contextTokens = info[`${String(info["general.architecture"])}.context_length`];
    const { capabilities } = body;
    return {
      license: shortLicense(typeof id === "string" ? id : "", text),
      licenseText: text,
      capabilities: Array.isArray(capabilities) ? capabilities.map(String) : [],
      contextTokens: typeof contextTokens === "number" ? contextTokens : null,
    };
  }

  /** Have the server fetch a model from a registry. @throws TransomError in the server's words. */
  async pull(
    model: string,
    onStatus: (status: WorkStatus) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const response = await this.#ask("api/pull", { method: "POST", body: { model }, signal });
    await readWork(response, onStatus, signal);
  }

  /** Give a model of the server another name, too. @throws TransomError in the server's words. */
  async copy(source: string, destination: string): Promise<void> {
    await this.#ask("api/copy", { method: "POST", body: { source, destination } });
  }

  /**
   * Have the server make a model of a blob that it has, compiled for browsers where it can.
   *
   * @param fileName a label, for the server's messages.
   * @returns what people should know of it, in the server's words; none where all is well.
   * @throws TransomError in the server's words.
   */
  async create(
    { model, fileName, digest }: { model: string; fileName: string; digest: string },
    onStatus: (status: WorkStatus) => void,
    signal: AbortSignal,
  ): Promise<readonly string[]> {
    const notes: string[] = [];
    const make = async (compile: boolean) => {
      const body = { model, compile, files: { [labelOf(fileName)]: digest } };
      const response = await this.#ask("api/create", { method: "POST", body, signal });
      await readWork(
        response,
        (status) => {
          if (status.text.startsWith(NOTE)) {
            notes.push(status.text.slice(NOTE.length));
          } else {
            onStatus(status);
          }
        },
        signal,
      );
    };
    try {
      await make(true);
    } catch (error) {
      const isFinal =
        signal.aborted ||
        error instanceof WriteRefused ||
        !(error instanceof TransomError && error.code === "invalid-request");
      if (isFinal) {
        throw named(error, digest, fileName);
      }
      // It may lack a compiler: the server can run it all the same, and says why no browser does.
      try {
        await make(false);
      } catch (failure) {
        throw named(failure, digest, fileName);
      }
      notes.push(error.message);
    }
    return notes;
  }

  /**
   * Send a file to the server's store; one that is there already is not sent.
   *
   * @param onBytes how many of it the server has.
   * @returns whether anything of it had to be sent. Stopped, the server keeps nothing of it.
   */
  async upload(
    file: Blob,
    digest: string,
    onBytes: (doneBytes: number) => void,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { uploads } = this.#options;
    const begun = await this.#begun(digest, file.size, signal);
    if (begun === null) {
      await uploads?.set(digest, null);
      onBytes(file.size);
      return false;
    }
    await uploads?.set(digest, begun.address);
    try {
      await this.#sendRest(file, begun, onBytes, signal);
      const last = new URL(begun.address, this.#folder);
      last.searchParams.set("digest", digest);
      const response = await this.#send(last, { method: "PUT", signal });
      await uploads?.set(digest, null);
      await requireGood(response);
      return true;
    } catch (error) {
      if (signal.aborted) {
        await uploads?.set(digest, null);
        // It leaves by itself in a day.
        this.#send(begun.address, { method: "DELETE" }).catch(() => undefined);
      }
      throw error;
    }
  }

  /** Have the server forget a blob that it got for nothing; one that a model needs stays. */
  async discard(digest: string): Promise<void> {
    const pause = this.#options.pause ?? sleep;
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      // The server hears in a moment that nobody waits for its work, and ends it.
      await pause(RETRY_MILLISECONDS * tries);
      try {
        if ((await this.#send(BLOBS + digest, { method: "DELETE" })).status !== NEEDED) {
          return;
        }
      } catch {
        // What nobody needs leaves with the server's next collection, too.
        return;
      }
    }
  }

  async #sendRest(
    file: Blob,
    begun: Upload,
    onBytes: (doneBytes: number) => void,
    signal: AbortSignal,
  ): Promise<void> {
    let at = begun;
    onBytes(at.doneBytes);
    const pieceBytes = this.#options.pieceBytes ?? PIECE_BYTES;
    for (let failures = 0; at.doneBytes < file.size;) {
      const end = Math.min(file.size, at.doneBytes + pieceBytes);
      try {
        at = await this.#append(at, file.slice(at.doneBytes, end), end, signal);
        failures = 0;
      } catch (error) {
        signal.throwIfAborted();
        failures += 1;
        const isFinal = !(error instanceof TransomError && error.code === "network");
        if (isFinal || failures >= MAX_TRIES) {
          throw error;
        }
        await (this.#options.pause ?? sleep)(RETRY_MILLISECONDS * failures);
        at = (await this.#progressOf(at.address, signal)) ?? at;
      }
      onBytes(at.doneBytes);
    }
  }

  /** An upload that an earlier page began, else a new one; null where the server has the blob. */
  async #begun(digest: string, size: number, signal: AbortSignal): Promise<Upload | null> {
    const kept = await this.#options.uploads?.get(digest);
    if (kept !== null && kept !== undefined) {
      const before = await this.#progressOf(kept, signal);
      if (before !== null && before.doneBytes <= size) {
        return before;
      }
    }
    // One question for both: what is there is mounted, for the rest there is an upload.
    const response = await this.#send(`${UPLOADS}?mount=${digest}`, { method: "POST", signal });
    await requireGood(response);
    return response.status === CREATED ? null : { address: addressOf(response), doneBytes: 0 };
  }

  async #append(
    { address, doneBytes }: Upload,
    piece: Blob,
    end: number,
    signal: AbortSignal,
  ): Promise<Upload> {
    const response = await this.#send(address, {
      method: "PATCH",
      headers: {
        "Content-Type": "application/octet-stream",
        "Content-Range": `${doneBytes}-${end - 1}`,
      },
      body: piece,
      signal,
    });
    // It says where it stands: another tab may have sent the same piece.
    if (response.status === 416) {
      return { address, doneBytes: doneOf(response) };
    }
    await requireGood(response);
    return { address, doneBytes: end };
  }

  /** Null: the server knows nothing of it. */
  async #progressOf(address: string, signal: AbortSignal): Promise<Upload | null> {
    const response = await this.#send(address, { method: "GET", signal });
    return response.ok ? { address, doneBytes: doneOf(response) } : null;
  }

  async #ask(
    path: string,
    { body, ...init }: Omit<RequestInit, "body"> & { body: object },
  ): Promise<Response> {
    const response = await this.#send(path, {
      ...init,
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(body),
    });
    await requireGood(response);
    return response;
  }

  async #send(path: string | URL, init: RequestInit): Promise<Response> {
    const headers = new Headers(init.headers);
    headers.set(SERVED_BY_HEADER, "server");
    try {
      return await this.#fetch(new URL(path, this.#folder), { ...init, headers });
    } catch (error) {
      init.signal?.throwIfAborted();
      throw new TransomError("network", `The server is not reached: ${describe(error)}.`, {
        cause: error,
      });
    }
  }
}

/** An upload on its way: where, and how far the server is. */
interface Upload {
  address: string;
  doneBytes: number;
}

/** @throws TransomError in the server's words, and what they mean for a page. */
async function requireGood(response: Response): Promise<void> {
  if (response.ok) {
    return;
  }
  const { error } = await refusalOf(response);
  throw NOT_ALLOWED.has(response.status) ? new WriteRefused(error.message) : error;
}

/** The server lets this page look and not change. */
export class WriteRefused extends TransomError {
  constructor(message: string) {
    super("invalid-request", message);
  }
}

/** Beside the page, wherever the server believes its root to be: a proxy in front may have moved it. */
function addressOf(response: Response): string {
  const [, path] = /(v2\/.+)$/.exec(response.headers.get("Location") ?? "") ?? [];
  if (path === undefined) {
    throw new TransomError("network", "The server begins no upload: it names no address.");
  }
  return path;
}

/** "0-1048575" is a mebibyte; "0-0" is nothing yet, or one byte, which is then sent again. */
function doneOf(response: Response): number {
  const last = /^(?:bytes=)?0-(\d+)$/.exec(response.headers.get("Range") ?? "")?.[1] ?? "0";
  return last === "0" ? 0 : Number(last) + 1;
}

/** Who sent a file knows it by its name; the server says the digest. */
function named(error: unknown, digest: string, fileName: string): unknown {
  if (error instanceof TransomError && !(error instanceof WriteRefused)) {
    // Sentences begin with a capital.
    const message = error.message.replace(new RegExp(digest, "gi"), () => fileName);
    return new TransomError(error.code, message, { cause: error });
  }
  return error;
}

/** The plain name of a file, as the server takes them. */
function labelOf(fileName: string): string {
  const plain = fileName.replace(/[^\w.+-]+/g, "-").replace(/^[^A-Za-z0-9_]+/, "");
  return plain.slice(-200) || "model.gguf";
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, milliseconds);
  });
}
