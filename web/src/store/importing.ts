/**
 * Brings a model from this device into the store: a .gguf file, a .tar of an OCI image layout, or a
 * folder with a bundle or a layout.
 *
 * Room is made first, the record is written second, then the blobs, each checked against its digest.
 * What is stopped or fails is taken back; what a crash leaves is in the list of models as not
 * complete, goes on where it was when it is imported again, and can be removed.
 */
import { TransomError } from "../errors.ts";
import type { ImportProgress, Imported, PickedFile } from "../protocol.ts";
import type { Keeping } from "./bundle.ts";
import {
  type Descriptor,
  MAX_MANIFEST_BYTES,
  MEDIA_TYPES,
  REF_NAME,
  TITLE,
  blobsOf,
  parseIndex,
} from "./manifest.ts";
import { throwIfAborted } from "./network.ts";
import { importedId } from "./stored-bundle.ts";
import { readTar } from "./tar.ts";
import {
  type Bytes,
  type Digest,
  IN_MEMORY_BYTES,
  type Promised,
  digestMismatch,
  digestOf,
  digestOfFile,
  hexOf,
} from "./verify.ts";

const GGUF_MAGIC = "GGUF";
/** Media types of a native model, as Ollama has them. */
const NATIVE = {
  config: "application/vnd.docker.container.image.v1+json",
  model: "application/vnd.ollama.image.model",
} as const;

/** A blob that will be kept, and where its bytes are. */
interface Part extends Promised {
  content: Blob;
  title: string;
  /** Its digest was taken from these bytes, so there is nothing to compare. */
  isHashed?: true;
}

interface Found {
  name: string;
  kind: Imported["kind"];
  /** Of its index. */
  digest: Digest;
  parts: readonly Part[];
}

type OnProgress = (progress: ImportProgress) => void;

/** @throws TransomError naming the file and a way out: `invalid-bundle`, `digest-mismatch`, `no-room`, `aborted`. */
export async function importFiles(
  files: readonly PickedFile[],
  keeping: Keeping,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Imported[]> {
  const imported: Imported[] = [];
  for (const found of await find(files, onProgress, signal)) {
    await keep(found, keeping, onProgress, signal);
    imported.push({
      source: { kind: "imported", id: found.digest },
      name: found.name,
      kind: found.kind,
      bytes: found.parts.reduce((sum, { size }) => sum + size, 0),
    });
  }
  return imported;
}

async function find(
  files: readonly PickedFile[],
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Found[]> {
  const [only, ...others] = files;
  if (only !== undefined && others.length === 0) {
    if (/\.gguf$/i.test(only.path)) {
      return [await findGguf(only, onProgress, signal)];
    }
    if (/\.tar$/i.test(only.path)) {
      const name = only.path.replace(/\.tar$/i, "");
      return new Layout(await readTar(only.content, only.path), name).models();
    }
  }
  const folder = only?.path.split("/")[0] ?? "";
  return new Layout(new Map(files.map(({ path, content }) => [path, content])), folder).models();
}

/** A GGUF file becomes a model of one platform, as `transom create` would make it. */
async function findGguf(
  { path, content }: PickedFile,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<Found> {
  const magic = new TextDecoder().decode(await content.slice(0, GGUF_MAGIC.length).arrayBuffer());
  if (magic !== GGUF_MAGIC) {
    throw new TransomError(
      "invalid-bundle",
      `${path} is no GGUF file (it does not begin with "GGUF"); was its download complete?`,
    );
  }
  const name = path.replace(/\.gguf$/i, "");
  const digest = await digestOfFile(content, (doneBytes) => {
    throwIfAborted(signal);
    onProgress({ file: path, doneBytes, totalBytes: content.size });
  });
  const title = path.replace(/[^A-Za-z0-9._-]/g, "_").replace(/^[.-]+/, "");
  const model: Part = { digest, size: content.size, content, title, isHashed: true };
  const config = await documentPart("native-config.json", { model_format: "gguf" });
  const manifest = await documentPart("manifest.json", {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: rowOf(config, NATIVE.config),
    layers: [rowOf(model, NATIVE.model)],
  });
  const platform = { os: "native", architecture: "gguf" };
  const { digest: id, size } = manifest;
  const index = await documentPart("index.json", {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.index,
    manifests: [{ mediaType: MEDIA_TYPES.manifest, digest: id, size, platform }],
  });
  return { name, kind: "gguf", digest: index.digest, parts: [index, manifest, config, model] };
}

function rowOf({ digest, size, title }: Part, mediaType: string) {
  return { mediaType, digest, size, annotations: { [TITLE]: title } };
}

async function documentPart(title: string, document: object): Promise<Part> {
  const bytes = new TextEncoder().encode(JSON.stringify(document));
  const digest = await digestOf(bytes);
  return { digest, size: bytes.byteLength, content: new Blob([bytes]), title };
}

/** Files by path, in one of two orders: an OCI image layout, or a bundle as `transom compile` writes it. */
class Layout {
  readonly #files: ReadonlyMap<string, Blob>;
  /** What is picked. */
  readonly #name: string;
  /** Of the folder that has the index, with a slash. */
  readonly #root: string;

  constructor(files: ReadonlyMap<string, Blob>, name: string) {
    this.#files = files;
    this.#name = name;
    const indexes = [...files.keys()].filter((path) => /(^|\/)index\.json$/.test(path));
    const [nearest] = indexes.toSorted((one, other) => one.length - other.length);
    if (nearest === undefined) {
      throw new TransomError(
        "invalid-bundle",
        `${name || "The folder"} has no index.json; pick a .gguf file, or what "transom export" ` +
          'or "transom compile" wrote: its folder, or a .tar of it.',
      );
    }
    this.#root = nearest.slice(0, -"index.json".length);
  }

  async models(): Promise<Found[]> {
    const content = this.#required("index.json", "index.json");
    const bytes = await this.#document(content, "index.json");
    const index = parseIndex(bytes);
    const rows = index.manifests.filter(({ mediaType }) => mediaType === MEDIA_TYPES.index);
    if (rows.length === 0) {
      return [await this.#model(this.#name, bytes)];
    }
    const found: Found[] = [];
    for (const row of rows) {
      const name = row.annotations.get(REF_NAME)?.replace(/:latest$/, "") ?? this.#name;
      const blob = this.#required(blobPath(row), `the index of ${name}`);
      const own = await this.#document(blob, name);
      await requireDigest(`the index of ${name}`, own, row);
      found.push(await this.#model(name, own));
    }
    return found;
  }

  /** A model with the platforms that are here whole. */
  async #model(name: string, indexBytes: Bytes): Promise<Found> {
    const digest = await digestOf(indexBytes);
    const parts = new Map<Digest, Part>();
    let lacks = "";
    let isForGpu = false;
    let isForCpu = false;
    for (const row of parseIndex(indexBytes).manifests) {
      const own = await this.#platform(name, row);
      if (typeof own === "string") {
        // A native model's own file may well have stayed where it was compiled.
        lacks = lacks === "" || row.platform?.os === "browser" ? own : lacks;
        continue;
      }
      isForGpu ||= row.platform?.os === "browser";
      isForCpu ||= row.platform?.os === "native";
      for (const part of own) {
        parts.set(part.digest, part);
      }
    }
    if (!isForGpu && !isForCpu) {
      throw new TransomError(
        "invalid-bundle",
        `${name} lacks ${lacks || "every platform that a browser runs"}; export it again with ` +
          '"transom export".',
      );
    }
    const content = new Blob([indexBytes]);
    const index = { digest, size: indexBytes.byteLength, content, title: "index.json" };
    const kind = isForGpu ? "bundle" : "gguf";
    return { name, kind, digest, parts: [index, ...parts.values()] };
  }

  /** All parts of a platform, or the name of the first that is not here. */
  async #platform(name: string, row: Descriptor): Promise<Part[] | string> {
    const variant = row.platform?.variant ?? "native";
    const manifest = this.#find(blobPath(row)) ?? this.#find(`manifests/${variant}.json`);
    if (manifest === null) {
      return `the manifest of ${variant}`;
    }
    const bytes = await this.#document(manifest, variant);
    await requireDigest(`the manifest ${variant} of ${name}`, bytes, row);
    const parts: Part[] = [{ ...promisedOf(row), content: manifest, title: `${variant}.json` }];
    for (const { title, ...promised } of blobsOf(bytes)) {
      const content = this.#find(blobPath(promised)) ?? (title === null ? null : this.#find(title));
      if (content === null) {
        return title ?? promised.digest;
      }
      parts.push({ ...promised, content, title: title ?? promised.digest });
    }
    return parts;
  }

  #find(path: string): Blob | null {
    return this.#files.get(this.#root + path) ?? null;
  }

  #required(path: string, what: string): Blob {
    const content = this.#find(path);
    if (content === null) {
      throw new TransomError(
        "invalid-bundle",
        `${this.#name} lacks ${what}; export it again with "transom export".`,
      );
    }
    return content;
  }

  async #document(content: Blob, what: string): Promise<Bytes> {
    if (content.size > MAX_MANIFEST_BYTES) {
      throw new TransomError("invalid-bundle", `${what} in ${this.#name} is too large.`);
    }
    return new Uint8Array(await content.arrayBuffer());
  }
}

async function keep(
  found: Found,
  keeping: Keeping,
  onProgress: OnProgress,
  signal: AbortSignal,
): Promise<void> {
  const { shelf, store, room } = keeping;
  const { name, parts } = found;
  const id = importedId(found.digest);
  const wasHere = (await shelf.sizes()).some((model) => model.id === id);
  try {
    await keeping.using(id, async () => {
      throwIfAborted(signal);
      await shelf.use({ id, name }, parts, found.digest, room);
      const totalBytes = parts.reduce((sum, { size }) => sum + size, 0);
      let doneBytes = 0;
      for (const part of parts) {
        const tell = (bytes: number) => {
          throwIfAborted(signal);
          onProgress({ file: part.title, doneBytes: doneBytes + bytes, totalBytes });
        };
        tell(0);
        if ((await store.open(part.digest))?.size !== part.size) {
          const content = await checked(part, tell);
          await store.put(part.digest, content).catch(noRoom(name));
        }
        doneBytes += part.size;
        tell(0);
      }
    });
  } catch (error) {
    // A model that was here before may have been complete.
    if (!wasHere) {
      await shelf.forget(id).catch(() => undefined);
    }
    throw error;
  }
}

/** The bytes of a part when they are what was promised; a stream of them where they are many. */
async function checked(
  part: Part,
  tell: (bytes: number) => void,
): Promise<Bytes | ReadableStream<Bytes>> {
  const { content, title, size, isHashed = false } = part;
  if (content.size !== size) {
    throw new TransomError(
      "invalid-bundle",
      `${title} has ${content.size} bytes and should have ${size}; copy it again.`,
    );
  }
  if (size <= IN_MEMORY_BYTES) {
    const bytes = new Uint8Array(await content.arrayBuffer());
    await requireDigest(title, bytes, part);
    return bytes;
  }
  if (!isHashed) {
    const actual = await digestOfFile(content, tell);
    if (actual !== part.digest) {
      throw digestMismatch(title, part, actual);
    }
  }
  let copied = 0;
  const counter = new TransformStream<Bytes, Bytes>({
    transform(chunk, controller) {
      copied += chunk.byteLength;
      tell(copied);
      controller.enqueue(chunk);
    },
  });
  return content.stream().pipeThrough(counter);
}

async function requireDigest(what: string, bytes: Bytes, promised: Promised): Promise<void> {
  const actual = await digestOf(bytes);
  if (actual !== promised.digest) {
    throw digestMismatch(what, promised, actual);
  }
}

function promisedOf({ digest, size }: Promised): Promised {
  return { digest, size };
}

function noRoom(name: string): (error: unknown) => never {
  return (error) => {
    if (error instanceof DOMException && error.name === "QuotaExceededError") {
      throw new TransomError(
        "no-room",
        `${name} does not fit into what this browser gives this site; remove other models, or free ` +
          "disk space.",
        { cause: error },
      );
    }
    throw error;
  };
}

function blobPath({ digest }: { digest: Digest }): string {
  return `blobs/sha256/${hexOf(digest)}`;
}
