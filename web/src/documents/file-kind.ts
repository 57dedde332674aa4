/**
 * What a file is, by its first bytes and its name.
 *
 * Browsers derive a file's media type from its name alone, and each from another table; so that type
 * decides nothing here.
 */

export type FileKind = "image" | "pdf" | "docx" | "text" | "unknown";

/** Bytes from the beginning that `fileKind` looks at. */
export const HEAD_BYTES = 1024;

/** What file pickers offer; others may be dropped or pasted, and are looked at all the same. */
export const IMAGE_TYPES = "image/png,image/jpeg,image/webp,image/gif,image/avif,image/bmp";
export const DOCUMENT_TYPES = [
  ".pdf,.docx,.txt,.md,.markdown,.csv,.tsv,.json,.jsonl,.yaml,.yml,.toml,.xml,.html,.htm,.log,.rst",
  ".tex,.srt,.vtt,.ini,.sql,.py,.js,.ts,.tsx,.jsx,.css,.c,.h,.cpp,.rs,.go,.java,.kt,.swift,.rb,.php",
  ".sh,.r,.svg,text/*",
].join(",");

/** "report.final.PDF" has "pdf"; "" where there is none. */
function extensionOf(name: string): string {
  return /\.([^./\\]+)$/.exec(name)?.[1]?.toLowerCase() ?? "";
}

/** Formats that are no text although parts of them look like it, by the bytes that they begin with. */
const BINARY = ["PK\x03\x04", "PK\x05\x06", "\x1f\x8b", "\xd0\xcf\x11\xe0", "\x7fELF", "GGUF"];

/** @param head the first `HEAD_BYTES` of the file, or all of it. */
export function fileKind(name: string, head: Uint8Array): FileKind {
  const text = Array.from(head, (byte) => String.fromCharCode(byte)).join("");
  if (isImage(text)) {
    return "image";
  }
  // Readers of PDF look for its mark in the first 1024 bytes (ISO 32000-1, Annex H.3, note 13).
  if (text.includes("%PDF-")) {
    return "pdf";
  }
  const extension = extensionOf(name);
  // Whatever they hold, so that what is wrong with them is said by their reader.
  if (extension === "pdf" || extension === "docx") {
    return extension;
  }
  if (BINARY.some((mark) => text.startsWith(mark))) {
    return "unknown";
  }
  const hasUtf16Mark = text.startsWith("\xff\xfe") || text.startsWith("\xfe\xff");
  return text.includes("\0") && !hasUtf16Mark ? "unknown" : "text";
}

function isImage(head: string): boolean {
  return (
    head.startsWith("\x89PNG\r\n\x1a\n") ||
    head.startsWith("\xff\xd8\xff") ||
    /^GIF8[79]a/.test(head) ||
    (head.startsWith("RIFF") && head.slice(8, 12) === "WEBP") ||
    // A BMP's reserved bytes are nought; a text that begins with "BM" has none of those.
    (head.startsWith("BM") && head.slice(6, 10) === "\0\0\0\0") ||
    (head.slice(4, 8) === "ftyp" && /avif|avis|heic|heix|mif1|heif/.test(head.slice(8, 32)))
  );
}
