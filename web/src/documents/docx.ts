/** Word documents (.docx) as text, by mammoth, which comes when the first one does. */
import { FileError } from "./problems.ts";
import type { DocumentText } from "./types.ts";
import { checkZip } from "./zip-check.ts";

/** What an old Word document (.doc) and an encrypted .docx begin with: a compound file. */
const COMPOUND_FILE = [0xd0, 0xcf, 0x11, 0xe0];

/**
 * Paragraphs, lists, tables and notes as paragraphs; a docx knows no pages until it is laid out.
 *
 * @throws FileError that names the file.
 */
export async function readDocx(
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
  signal: AbortSignal,
): Promise<DocumentText> {
  if (COMPOUND_FILE.every((byte, index) => bytes[index] === byte)) {
    throw new FileError("encrypted", name);
  }
  await checkZip(bytes, name, signal);
  const { default: mammoth } = await import("mammoth");
  signal.throwIfAborted();
  const copy = bytes.slice().buffer;
  // mammoth's files for browsers take the first, those for Node the second.
  const input = { arrayBuffer: copy, buffer: copy };
  let text: string;
  try {
    text = (await mammoth.extractRawText(input)).value;
  } catch (error) {
    throw new FileError("damaged", name, 0, { cause: error });
  }
  signal.throwIfAborted();
  return { pages: [text.replace(/\n{3,}/g, "\n\n").trim()] };
}
