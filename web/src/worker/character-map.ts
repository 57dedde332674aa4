/**
 * SentencePiece's precompiled character map: at each place the longest key is replaced by its value.
 *
 * The blob is a length (u32), a double array over the keys' UTF-8 bytes (u32 units) and the values,
 * each ended by a zero byte. A unit holds the byte that leads to it (bits 0-7, and bit 31 where it
 * holds a value instead), a mark that a value hangs below it (bit 8), and the distance to its
 * children (bits 10-30, counted in 256 where bit 9 is set): Darts-clone's layout.
 */
import { TransomError } from "../errors.ts";

const HAS_VALUE = 1 << 8;
const FAR = 1 << 9;
const VALUE_MASK = 0x7fff_ffff;
const LABEL_MASK = 0x8000_00ff;

export class CharacterMap {
  readonly #units: Uint32Array;
  readonly #values: Uint8Array;

  /** @throws TransomError `invalid-bundle` for a blob that is cut off. */
  constructor(base64: string) {
    const blob = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
    const view = new DataView(blob.buffer);
    const size = blob.length < 4 ? 0 : view.getUint32(0, true);
    if (size === 0 || size % 4 !== 0 || 4 + size >= blob.length) {
      throw new TransomError("invalid-bundle", "The tokenizer's character map is cut off.");
    }
    this.#units = Uint32Array.from({ length: size / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#values = blob.subarray(4 + size);
  }

  normalize(text: string): string {
    const bytes = new TextEncoder().encode(text);
    const out: number[] = [];
    for (let at = 0; at < bytes.length;) {
      const match = this.#longestMatch(bytes, at);
      if (match === null) {
        const end = at + lengthOfCharacter(bytes[at] ?? 0);
        out.push(...bytes.subarray(at, end));
        at = end;
      } else {
        out.push(...this.#value(match.value));
        at += match.length;
      }
    }
    return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(out));
  }

  #longestMatch(bytes: Uint8Array, start: number): { value: number; length: number } | null {
    let match: { value: number; length: number } | null = null;
    let node = childrenOf(this.#unit(0));
    for (let at = start; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      node ^= byte;
      const unit = this.#unit(node);
      if (byte === 0 || (unit & LABEL_MASK) >>> 0 !== byte) {
        break;
      }
      node ^= childrenOf(unit);
      if ((unit & HAS_VALUE) !== 0) {
        match = { value: this.#unit(node) & VALUE_MASK, length: at - start + 1 };
      }
    }
    return match;
  }

  #unit(index: number): number {
    const unit = this.#units[index];
    if (unit === undefined) {
      throw new TransomError("invalid-bundle", "The tokenizer's character map points outside.");
    }
    return unit;
  }

  #value(start: number): Uint8Array {
    const end = this.#values.indexOf(0, start);
    if (end < start) {
      throw new TransomError("invalid-bundle", "The tokenizer's character map points outside.");
    }
    return this.#values.subarray(start, end);
  }
}

function childrenOf(unit: number): number {
  return (unit >>> 10) << ((unit & FAR) >>> 6);
}

/** Bytes of the UTF-8 character that starts with `byte`. */
function lengthOfCharacter(byte: number): number {
  return byte < 0xc0 ? 1 : byte < 0xe0 ? 2 : byte < 0xf0 ? 3 : 4;
}
