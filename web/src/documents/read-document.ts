/** A file as text: who reads it, and how much of it. */
import { readDocx } from "./docx.ts";
import { HEAD_BYTES, fileKind } from "./file-kind.ts";
import { MOST_CHARACTERS, MOST_DOCUMENT_BYTES, MOST_TEXT_BYTES } from "./limits.ts";
import { type PdfReader, readPdf } from "./pdf.ts";
import { decodeText } from "./plain-text.ts";
import { FileError } from "./problems.ts";
import type { DocumentText } from "./types.ts";

export interface ReadOptions {
  signal: AbortSignal;
  /** 0 to 1; only documents that take a while tell. */
  onProgress?: (done: number) => void;
  /** Who reads PDF; pdf.js in its worker unless a test says otherwise. */
  pdf?: PdfReader;
}

/**
 * @param file a Blob, of which no more is read than the limits allow.
 * @throws FileError that names the file and says what to do; what `signal` was aborted with.
 */
export async function readDocument(
  file: Blob,
  name: string,
  { signal, onProgress = () => undefined, pdf }: ReadOptions,
): Promise<DocumentText> {
  if (file.size === 0) {
    throw new FileError("empty", name);
  }
  if (file.size > MOST_DOCUMENT_BYTES) {
    throw new FileError("too-large", name, MOST_DOCUMENT_BYTES);
  }
  const kind = fileKind(name, await bytesOf(file.slice(0, HEAD_BYTES), name));
  if (kind === "image" || kind === "unknown") {
    throw new FileError("unknown-kind", name);
  }
  if (kind === "text" && file.size > MOST_TEXT_BYTES) {
    throw new FileError("too-large", name, MOST_TEXT_BYTES);
  }
  const bytes = await bytesOf(file, name);
  signal.throwIfAborted();
  let text: DocumentText;
  switch (kind) {
    case "pdf":
      text = await readPdf(bytes, name, pdf ?? (await import("./pdf-worker.ts")).pdfReader, {
        signal,
        onProgress,
      });
      break;
    case "docx":
      text = await readDocx(bytes, name, signal);
      break;
    case "text":
      text = { pages: [decodeText(bytes, name)] };
      break;
  }
  const characters = charactersOf(text);
  if (characters > MOST_CHARACTERS) {
    throw new FileError("too-long", name, MOST_CHARACTERS);
  }
  if (text.pages.every((page) => page.trim() === "")) {
    throw new FileError(kind === "pdf" ? "no-text" : "empty", name);
  }
  return text;
}

/** UTF-16 units, as strings count. */
export function charactersOf(text: DocumentText): number {
  return text.pages.reduce((sum, page) => sum + page.length, 0);
}

/** A file that was moved or changed since it was chosen cannot be read any more. */
async function bytesOf(file: Blob, name: string): Promise<Uint8Array<ArrayBuffer>> {
  try {
    return new Uint8Array(await file.arrayBuffer());
  } catch (error) {
    throw new FileError("damaged", name, 0, { cause: error });
  }
}
