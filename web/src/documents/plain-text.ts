/** Files that are text: which characters their bytes are. Pure. */
import { FileError } from "./problems.ts";

/**
 * UTF-8, or UTF-16 where its byte order mark says so; lines end with "\n".
 *
 * @throws FileError "unknown-encoding": a guess among the older encodings would give wrong letters
 *   that nobody notices.
 */
export function decodeText(bytes: Uint8Array<ArrayBuffer>, name: string): string {
  const [first, second] = bytes;
  const encoding =
    first === 0xff && second === 0xfe
      ? "utf-16le"
      : first === 0xfe && second === 0xff
        ? "utf-16be"
        : "utf-8";
  let text: string;
  try {
    // Takes the mark away, also UTF-8's.
    text = new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch (error) {
    throw new FileError("unknown-encoding", name, 0, { cause: error });
  }
  if (text.includes("\0")) {
    throw new FileError("unknown-kind", name);
  }
  return text.replace(/\r\n?/g, "\n");
}
