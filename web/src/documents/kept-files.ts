/** Attachments in this browser's storage: put there with a draft, read again for each answer. */
import type { Database, FileRow, PassagesRow } from "../chat/database.ts";
import type { DocumentAttachment } from "../chat/types.ts";
import type { Attached } from "./attach.ts";
import { dataUrlOf } from "./images.ts";
import { readDocument } from "./read-document.ts";
import type { PassageStore } from "./retrieval.ts";
import type { DocumentText } from "./types.ts";

type Files = Pick<Database, "file" | "putFile" | "passages" | "putPassages">;

export class KeptFiles implements PassageStore {
  readonly #files: Files;
  readonly #read: typeof readDocument;

  constructor(files: Files, read = readDocument) {
    this.#files = files;
    this.#read = read;
  }

  async keep({ attachment, blob, text }: Attached): Promise<void> {
    const { sha256, mediaType } = attachment;
    await this.#files.putFile({ sha256, mediaType, blob, ...(text !== null && { text }) });
  }

  /** Null: it is not here any more. What an import brought is read when it is first asked for. */
  async textOf({ sha256, name }: DocumentAttachment): Promise<DocumentText | null> {
    const file = await this.#files.file(sha256);
    if (file === undefined) {
      return null;
    }
    return file.text ?? (await this.#read(file.blob, name, { signal: NEVER }));
  }

  /** In the form of OpenAI's `image_url`; null: it is not here any more. */
  async imageUrl(sha256: string): Promise<string | null> {
    const blob = await this.blobOf(sha256);
    return blob === null ? null : dataUrlOf(blob);
  }

  /** For thumbnails, and for saving it again. */
  async blobOf(sha256: string): Promise<Blob | null> {
    const file: FileRow | undefined = await this.#files.file(sha256);
    return file?.blob ?? null;
  }

  read = async (sha256: string, model: string): Promise<PassagesRow | null> =>
    (await this.#files.passages(sha256, model)) ?? null;

  write = (row: PassagesRow): Promise<void> => this.#files.putPassages(row);
}

const NEVER = new AbortController().signal;
