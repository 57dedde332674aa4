/** Bytes as base64 and back, in strides: a call with millions of arguments fails. */

/** Divisible by 3, so that no stride but the last is padded. */
const STRIDE_BYTES = 0x6000;

export function toBase64(bytes: Uint8Array): string {
  const parts: string[] = [];
  for (let at = 0; at < bytes.length; at += STRIDE_BYTES) {
    parts.push(btoa(String.fromCharCode(...bytes.subarray(at, at + STRIDE_BYTES))));
  }
  return parts.join("");
}

/** Null: it is no base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> | null {
  try {
    const characters = atob(text);
    const bytes = new Uint8Array(characters.length);
    for (let at = 0; at < characters.length; at++) {
      bytes[at] = characters.charCodeAt(at);
    }
    return bytes;
  } catch {
    return null;
  }
}
