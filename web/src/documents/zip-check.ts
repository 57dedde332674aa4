/**
 * Whether a zip is what its directory says, before anybody unpacks it into memory.
 *
 * First the directory at the end is read: how many files, of what size unpacked. Then each is
 * unpacked once into nothing, because a directory can lie; whoever holds more than it said, or XML of
 * more than can be read, is refused at that byte. PKWARE's APPNOTE 6.3.10, sections 4.3.7 to 4.3.16.
 */
import { MOST_UNPACKED_BYTES, MOST_XML_BYTES, MOST_ZIP_ENTRIES } from "./limits.ts";
import { FileError } from "./problems.ts";

interface Entry {
  method: number;
  packedBytes: number;
  unpackedBytes: number;
  /** Where its local header stands. */
  offset: number;
}

const END_OF_DIRECTORY = 0x06054b50;
const END_BYTES = 22;
/** The comment behind it is at most this long. */
const MOST_COMMENT_BYTES = 0xffff;
const DIRECTORY_ENTRY = 0x02014b50;
const ENTRY_BYTES = 46;
const LOCAL_HEADER = 0x04034b50;
const LOCAL_BYTES = 30;
const STORED = 0;
const DEFLATED = 8;
/** Bit 0 of a file's flags. */
const IS_ENCRYPTED = 1;

/** @throws FileError "damaged", "encrypted" or "unpacks-too-large". */
export async function checkZip(
  bytes: Uint8Array<ArrayBuffer>,
  name: string,
  signal: AbortSignal,
): Promise<void> {
  const entries = readDirectory(bytes, name);
  const promised = entries.reduce((sum, { unpackedBytes }) => sum + unpackedBytes, 0);
  if (promised > MOST_UNPACKED_BYTES) {
    throw new FileError("unpacks-too-large", name, MOST_UNPACKED_BYTES);
  }
  let xmlBytes = 0;
  for (const entry of entries) {
    signal.throwIfAborted();
    xmlBytes += await xmlBytesOf(bytes, entry, name);
    if (xmlBytes > MOST_XML_BYTES) {
      throw new FileError("unpacks-too-large", name, MOST_XML_BYTES);
    }
  }
}

function readDirectory(bytes: Uint8Array<ArrayBuffer>, name: string): Entry[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const end = findEnd(view);
  if (end === null) {
    throw new FileError("damaged", name);
  }
  const count = view.getUint16(end + 10, true);
  const size = view.getUint32(end + 12, true);
  const start = view.getUint32(end + 16, true);
  // Bytes before or between would be files that another reader finds and this one did not see.
  // Zip64, for more than 4 GB or 65,534 files, marks these fields with all ones and is refused too.
  if (count === 0 || count > MOST_ZIP_ENTRIES || start + size !== end) {
    throw new FileError("damaged", name);
  }
  const entries: Entry[] = [];
  let at = start;
  for (let index = 0; index < count; index += 1) {
    if (at + ENTRY_BYTES > end || view.getUint32(at, true) !== DIRECTORY_ENTRY) {
      throw new FileError("damaged", name);
    }
    if ((view.getUint16(at + 8, true) & IS_ENCRYPTED) !== 0) {
      throw new FileError("encrypted", name);
    }
    entries.push({
      method: view.getUint16(at + 10, true),
      packedBytes: view.getUint32(at + 20, true),
      unpackedBytes: view.getUint32(at + 24, true),
      offset: view.getUint32(at + 42, true),
    });
    const variable = [28, 30, 32].map((field) => view.getUint16(at + field, true));
    at += ENTRY_BYTES + variable.reduce((sum, length) => sum + length, 0);
  }
  if (at !== end) {
    throw new FileError("damaged", name);
  }
  return entries;
}

function findEnd(view: DataView): number | null {
  const last = view.byteLength - END_BYTES;
  for (let at = last; at >= Math.max(0, last - MOST_COMMENT_BYTES); at -= 1) {
    // Its comment must end where the file does: else the mark is part of something else.
    if (
      view.getUint32(at, true) === END_OF_DIRECTORY &&
      view.getUint16(at + 20, true) === last - at
    ) {
      return at;
    }
  }
  return null;
}

/** Unpacks one file into nothing: its bytes if it is XML, else 0. */
async function xmlBytesOf(
  bytes: Uint8Array<ArrayBuffer>,
  entry: Entry,
  name: string,
): Promise<number> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const { offset } = entry;
  if (offset + LOCAL_BYTES > bytes.length || view.getUint32(offset, true) !== LOCAL_HEADER) {
    throw new FileError("damaged", name);
  }
  const start =
    offset + LOCAL_BYTES + view.getUint16(offset + 26, true) + view.getUint16(offset + 28, true);
  const packed = bytes.subarray(start, start + entry.packedBytes);
  if (packed.length !== entry.packedBytes) {
    throw new FileError("damaged", name);
  }
  if (entry.method === STORED) {
    if (entry.unpackedBytes !== entry.packedBytes) {
      throw new FileError("damaged", name);
    }
    return isXml(packed) ? packed.length : 0;
  }
  if (entry.method !== DEFLATED) {
    throw new FileError("damaged", name);
  }
  return inflatedXmlBytes(packed, entry.unpackedBytes, name);
}

async function inflatedXmlBytes(
  packed: Uint8Array<ArrayBuffer>,
  promisedBytes: number,
  name: string,
): Promise<number> {
  const reader = new Blob([packed])
    .stream()
    .pipeThrough(new DecompressionStream("deflate-raw"))
    .getReader();
  let head: Uint8Array | null = null;
  let done = 0;
  for (;;) {
    let read: ReadableStreamReadResult<Uint8Array>;
    try {
      read = await reader.read();
    } catch (error) {
      throw new FileError("damaged", name, 0, { cause: error });
    }
    if (read.done) {
      break;
    }
    head ??= read.value;
    done += read.value.length;
    if (done > promisedBytes) {
      await reader.cancel();
      throw new FileError("damaged", name);
    }
    if (done > MOST_XML_BYTES && isXml(head)) {
      await reader.cancel();
      throw new FileError("unpacks-too-large", name, MOST_XML_BYTES);
    }
  }
  if (done !== promisedBytes) {
    throw new FileError("damaged", name);
  }
  return head !== null && isXml(head) ? done : 0;
}

/** By what it begins with, because any part may be named as the document. */
function isXml(head: Uint8Array): boolean {
  return /^(?:\xef\xbb\xbf)?\s*</.test(String.fromCharCode(...head.subarray(0, 256)));
}
