/** bfloat16 is the upper half of a float32. @returns the same numbers as float32, in bytes. */
export function widenBf16(bytes: Uint8Array): Uint8Array {
  const words = new Uint8Array(bytes.byteLength * 2);
  for (let index = 0; index < bytes.byteLength; index += 2) {
    words[2 * index + 2] = bytes[index] ?? 0;
    words[2 * index + 3] = bytes[index + 1] ?? 0;
  }
  return words;
}
