/**
 * Which functions of a program conversations have used, so that the next visit builds their pipelines
 * while the weights come, and not at the first token that wants them.
 *
 *     transom/functions/<hex of the program's digest>      a JSON list of names
 */
import { CREATE, read, write } from "./opfs-files.ts";
import { type Digest, hexOf } from "./verify.ts";

const FOLDER = "transom";
const FUNCTIONS = "functions";
/** More than any program has. */
const MAX_NAMES = 64;

export class FunctionHints {
  readonly #folder: FileSystemDirectoryHandle;

  private constructor(folder: FileSystemDirectoryHandle) {
    this.#folder = folder;
  }

  /** Null where the browser has no such file system, or lets nobody in. */
  static async open(storage: Pick<StorageManager, "getDirectory">): Promise<FunctionHints | null> {
    try {
      const root = await (await storage.getDirectory()).getDirectoryHandle(FOLDER, CREATE);
      return new FunctionHints(await root.getDirectoryHandle(FUNCTIONS, CREATE));
    } catch {
      return null;
    }
  }

  /** What earlier visits used; nothing where that cannot be read. */
  async of(program: Digest): Promise<readonly string[]> {
    try {
      const bytes = (await read(this.#folder, hexOf(program))) ?? new Uint8Array(0);
      const names: unknown = JSON.parse(new TextDecoder().decode(bytes));
      return Array.isArray(names)
        ? names.filter((name) => typeof name === "string").slice(0, MAX_NAMES)
        : [];
    } catch {
      return [];
    }
  }

  /** A hint that cannot be written costs the next visit a moment, and nobody else anything. */
  async note(program: Digest, names: readonly string[]): Promise<void> {
    const bytes = new TextEncoder().encode(JSON.stringify(names.slice(0, MAX_NAMES)));
    await write(this.#folder, hexOf(program), bytes).catch(() => undefined);
  }
}
