/** PDF as text, page by page, by Mozilla's pdf.js, which comes when the first one does. */
import type { PDFDocumentLoadingTask } from "pdfjs-dist";
import type { DocumentInitParameters, TextItem } from "pdfjs-dist/types/src/display/api.js";

import { MOST_CHARACTERS, MOST_PAGES } from "./limits.ts";
import { FileError } from "./problems.ts";
import type { DocumentText } from "./types.ts";

/** pdf.js's `getDocument`, with whatever worker it has. */
export type OpenPdf = (parameters: DocumentInitParameters) => PDFDocumentLoadingTask;
/** One of Adobe's predefined CMaps, by its file's name. @throws where it cannot be had. */
export type FetchCmap = (fileName: string) => Promise<Uint8Array>;

/** What reads PDF, and where it finds what it needs. */
export interface PdfReader {
  open: OpenPdf;
  fetchCmap: FetchCmap;
}

export interface PdfOptions {
  signal: AbortSignal;
  /** 0 to 1. */
  onProgress: (done: number) => void;
}

/** Readers look for the end mark in the last 1024 bytes (ISO 32000-1, Annex H.3, note 18). */
const END_MARK_BYTES = 1024;
/** Lines further apart than this many heights of a letter are of two paragraphs. */
const PARAGRAPH_GAP = 1.7;

/** @throws FileError that names the file. */
export async function readPdf(
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
  { open, fetchCmap }: PdfReader,
  { signal, onProgress }: PdfOptions,
): Promise<DocumentText> {
  // pdf.js would repair what it can and leave out the rest without a word.
  if (!hasEndMark(bytes)) {
    throw new FileError("damaged", name);
  }
  // pdf.js would go on without a CMap, and leave out the text that it is for.
  let isLacking = false;
  const fetchBinary = async ({ kind, filename }: { kind: string; filename: string }) => {
    if (kind !== "cMapUrl") {
      throw new Error(`${kind}: only text is read here`);
    }
    try {
      return await fetchCmap(filename);
    } catch (error) {
      isLacking = true;
      throw error;
    }
  };
  const task = open({
    // It moves to the worker, and the caller may keep the file.
    data: bytes.slice(),
    BinaryDataFactory: class {
      fetch = fetchBinary;
    },
    cMapPacked: true,
    // Text only: no fonts are drawn, no pictures decoded, and nothing is fetched for either.
    disableFontFace: true,
    useSystemFonts: true,
    useWasm: false,
    useWorkerFetch: false,
    isImageDecoderSupported: false,
    isOffscreenCanvasSupported: false,
    enableXfa: false,
    stopAtErrors: false,
    verbosity: 0,
  });
  try {
    const pages = await readPages(task, name, { signal, onProgress });
    // Only assigned in a callback, which the checker does not see.
    if (isLacking as boolean) {
      throw new FileError("no-cmap", name);
    }
    if (pages.every((page) => page === "")) {
      throw new FileError("no-text", name);
    }
    return { pages };
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof FileError ? error : asFileError(error, name);
  } finally {
    await task.destroy();
  }
}

async function readPages(
  task: PDFDocumentLoadingTask,
  name: string,
  { signal, onProgress }: PdfOptions,
): Promise<string[]> {
  const document = await task.promise;
  if (document.numPages > MOST_PAGES) {
    throw new FileError("too-many-pages", name, MOST_PAGES);
  }
  const pages: string[] = [];
  let characters = 0;
  for (let number = 1; number <= document.numPages; number += 1) {
    signal.throwIfAborted();
    const page = await document.getPage(number);
    const { items } = await page.getTextContent();
    const text = textOf(items.filter((item) => "str" in item));
    page.cleanup();
    characters += text.length;
    if (characters > MOST_CHARACTERS) {
      throw new FileError("too-long", name, MOST_CHARACTERS);
    }
    pages.push(text);
    onProgress(number / document.numPages);
  }
  return pages;
}

/** Lines as pdf.js finds them, with an empty one where a gap says that a paragraph ends. */
function textOf(items: readonly TextItem[]): string {
  let text = "";
  let baseline: number | null = null;
  for (const item of items) {
    const at = item.transform[5] as number;
    if (item.str !== "") {
      const isApart = baseline !== null && Math.abs(baseline - at) > PARAGRAPH_GAP * item.height;
      if (isApart && item.height > 0 && text.endsWith("\n")) {
        text += "\n";
      }
      baseline = at;
    }
    text += item.str + (item.hasEOL ? "\n" : "");
  }
  return text
    .replace(/\0/g, "")
    .replace(/[ \t]+\n/g, "\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

function hasEndMark(bytes: Uint8Array): boolean {
  // Some writers pad the file with zeros up to a block of their disk.
  let end = bytes.length;
  while (end > 0 && bytes[end - 1] === 0) {
    end -= 1;
  }
  const tail = bytes.subarray(Math.max(0, end - END_MARK_BYTES), end);
  return String.fromCharCode(...tail).includes("%%EOF");
}

/** pdf.js's own classes of errors carry their names, also across its worker. */
function asFileError(error: unknown, name: string): FileError {
  const isLocked = error instanceof Error && error.name === "PasswordException";
  return new FileError(isLocked ? "encrypted" : "damaged", name, 0, { cause: error });
}
