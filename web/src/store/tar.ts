/**
 * The files of a tar archive, as parts of it: nothing is copied or unpacked (POSIX ustar and pax,
 * and GNU's long names). Links, devices and the like are passed over.
 */
import { TransomError } from "../errors.ts";

const BLOCK_BYTES = 512;
/** Of a name or a pax record. */
const MAX_TEXT_BYTES = 64 * 1024;
const MAX_ENTRIES = 100_000;
const CHECKSUM = { start: 148, end: 156 };

/** @throws TransomError `invalid-bundle` naming the archive. */
export async function readTar(archive: Blob, name: string): Promise<Map<string, Blob>> {
  const files = new Map<string, Blob>();
  const fail = (reason: string) =>
    new TransomError("invalid-bundle", `${name} ${reason}; copy or make it again.`);
  let longName: string | null = null;
  let longSize: number | null = null;
  for (let at = 0; at + BLOCK_BYTES <= archive.size;) {
    const header = await bytesOf(archive.slice(at, at + BLOCK_BYTES));
    at += BLOCK_BYTES;
    if (header.every((byte) => byte === 0)) {
      break;
    }
    if (!isHeader(header)) {
      throw fail("is no tar archive, or damaged");
    }
    const size = longSize ?? readNumber(header.subarray(124, 136));
    if (!Number.isSafeInteger(size) || at + size > archive.size) {
      throw fail("ends too early");
    }
    const content = archive.slice(at, at + size);
    at += Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    const type = String.fromCharCode(header[156] ?? 0);
    if ("xgL".includes(type)) {
      if (size > MAX_TEXT_BYTES) {
        throw fail("has a header that is too long");
      }
      const text = new TextDecoder().decode(await bytesOf(content));
      if (type === "L") {
        longName = untilZero(text);
      } else if (type === "x") {
        const records = readPax(text);
        longName = records.get("path") ?? longName;
        longSize = records.has("size") ? Number(records.get("size")) : null;
      }
      continue;
    }
    if (type === "0" || type === "\0") {
      files.set((longName ?? readName(header)).replace(/^(\.\/)+/, ""), content);
    }
    if (files.size > MAX_ENTRIES) {
      throw fail("has too many files");
    }
    longName = null;
    longSize = null;
  }
  return files;
}

async function bytesOf(part: Blob): Promise<Uint8Array> {
  return new Uint8Array(await part.arrayBuffer());
}

/** The sum of all bytes, its own place counted as blanks. */
function isHeader(header: Uint8Array): boolean {
  let sum = 0;
  header.forEach((byte, index) => {
    sum += index >= CHECKSUM.start && index < CHECKSUM.end ? 32 : byte;
  });
  return sum === readNumber(header.subarray(CHECKSUM.start, CHECKSUM.end));
}

/** Octal text; where the highest bit is set, big-endian bytes. */
function readNumber(field: Uint8Array): number {
  const [first = 0] = field;
  if (first < 0x80) {
    return Number.parseInt(untilZero(new TextDecoder().decode(field)).trim() || "0", 8);
  }
  return field.slice(1).reduce((number, byte) => number * 256 + byte, first & 0x7f);
}

function readName(header: Uint8Array): string {
  const text = (start: number, end: number) =>
    untilZero(new TextDecoder().decode(header.subarray(start, end)));
  const prefix = text(257, 262) === "ustar" ? text(345, 500) : "";
  return prefix === "" ? text(0, 100) : `${prefix}/${text(0, 100)}`;
}

function untilZero(text: string): string {
  return text.split("\0", 1)[0] ?? "";
}

/** Records of "LENGTH KEY=VALUE\n"; the names that matter here have no line breaks. */
function readPax(text: string): Map<string, string> {
  const records = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, key, value] = /^\d+ ([^=]+)=(.*)$/.exec(line) ?? [];
    if (key !== undefined && value !== undefined) {
      records.set(key, value);
    }
  }
  return records;
}
