/** A file that somebody brings becomes an attachment: what is kept, and what is said of it. */
import type { Attachment, DocumentAttachment, ImageAttachment } from "../chat/types.ts";
import { HEAD_BYTES, fileKind } from "./file-kind.ts";
import { prepareImage } from "./images.ts";
import { type ReadOptions, charactersOf, readDocument } from "./read-document.ts";
import type { DocumentText } from "./types.ts";

/** What goes into storage, by the attachment's sha256. */
export type Attached =
  | { attachment: ImageAttachment; blob: Blob; text: null }
  | { attachment: DocumentAttachment; blob: Blob; text: DocumentText };

/** Documents' media types; whatever else is read is text. */
const MEDIA_TYPES = {
  pdf: "application/pdf",
  docx: "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
  text: "text/plain",
} as const;

/**
 * Read a file, or an image made anew without its metadata: the original is not kept.
 *
 * @param digest hexadecimal sha256 of bytes.
 * @throws FileError that names the file; what `signal` was aborted with.
 */
export async function attachFile(
  file: File,
  digest: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>,
  options: ReadOptions,
): Promise<Attached> {
  // What is pasted has no name of its own everywhere.
  const name = file.name === "" ? "image.png" : file.name;
  const head = new Uint8Array(
    await file
      .slice(0, HEAD_BYTES)
      .arrayBuffer()
      .catch(() => new ArrayBuffer()),
  );
  const kind = fileKind(name, head);
  const common = { id: newId(), name };
  if (kind === "image") {
    const { blob, width, height } = await prepareImage(file, name, options.signal);
    const attachment: ImageAttachment = {
      ...common,
      kind: "image",
      ...(await factsOf(blob, blob.type, digest)),
      width,
      height,
    };
    return { attachment, blob, text: null };
  }
  const text = await readDocument(file, name, options);
  const attachment: DocumentAttachment = {
    ...common,
    kind: "document",
    ...(await factsOf(file, MEDIA_TYPES[kind === "unknown" ? "text" : kind], digest)),
    characters: charactersOf(text),
    pages: text.pages.length > 1 || kind === "pdf" ? text.pages.length : 0,
  };
  return { attachment, blob: file, text };
}

async function factsOf(
  blob: Blob,
  mediaType: string,
  digest: (bytes: Uint8Array<ArrayBuffer>) => Promise<string>,
): Promise<Pick<Attachment, "mediaType" | "bytes" | "sha256">> {
  const sha256 = await digest(new Uint8Array(await blob.arrayBuffer()));
  return { mediaType, bytes: blob.size, sha256 };
}

/** `crypto.randomUUID` is not there on a network's plain http, and attachments are. */
function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
