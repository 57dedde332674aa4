/**
 * sha256 of bytes that come bit by bit (FIPS 180-4), for files that no memory holds whole.
 *
 * WebCrypto hashes five times as fast, but only what is in memory: `verify.ts` chooses.
 */
/* eslint-disable @typescript-eslint/no-non-null-assertion -- every index is below its array's fixed length, and the innermost loop is no place for checks */

const BLOCK_BYTES = 64;
const LENGTH_BYTES = 8;
/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes. */
const ROUNDS = Int32Array.from(firstPrimes(64), (prime) => fractionBits(Math.cbrt(prime)));
/** The same of the square roots of the first 8. */
const START = Int32Array.from(firstPrimes(8), (prime) => fractionBits(Math.sqrt(prime)));

export class Sha256 {
  readonly #state = START.slice();
  readonly #schedule = new Int32Array(64);
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #restBytes = 0;
  #totalBytes = 0;

  update(bytes: Uint8Array): void {
    this.#totalBytes += bytes.byteLength;
    let at = 0;
    if (this.#restBytes > 0) {
      at = Math.min(BLOCK_BYTES - this.#restBytes, bytes.byteLength);
      this.#rest.set(bytes.subarray(0, at), this.#restBytes);
      this.#restBytes += at;
      if (this.#restBytes < BLOCK_BYTES) {
        return;
      }
      this.#block(this.#rest, 0);
    }
    for (; at + BLOCK_BYTES <= bytes.byteLength; at += BLOCK_BYTES) {
      this.#block(bytes, at);
    }
    this.#rest.set(bytes.subarray(at));
    this.#restBytes = bytes.byteLength - at;
  }

  /** The 32 bytes; nothing may come after. */
  digest(): Uint8Array {
    const end = new Uint8Array(
      this.#restBytes < BLOCK_BYTES - LENGTH_BYTES ? BLOCK_BYTES : 2 * BLOCK_BYTES,
    );
    end.set(this.#rest.subarray(0, this.#restBytes));
    end[this.#restBytes] = 0x80;
    const bits = BigInt(this.#totalBytes) * 8n;
    new DataView(end.buffer).setBigUint64(end.byteLength - LENGTH_BYTES, bits);
    for (let at = 0; at < end.byteLength; at += BLOCK_BYTES) {
      this.#block(end, at);
    }
    const hash = new Uint8Array(32);
    const view = new DataView(hash.buffer);
    this.#state.forEach((word, index) => {
      view.setInt32(4 * index, word);
    });
    return hash;
  }

  #block(bytes: Uint8Array, offset: number): void {
    const w = this.#schedule;
    const k = ROUNDS;
    const state = this.#state;
    for (let i = 0, at = offset; i < 16; i++, at += 4) {
      w[i] = (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
    }
    for (let i = 16; i < 64; i++) {
      const x = w[i - 15]!;
      const y = w[i - 2]!;
      const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
      const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
      w[i] = (w[i - 16]! + s0 + w[i - 7]! + s1) | 0;
    }
    let a = state[0]!;
    let b = state[1]!;
    let c = state[2]!;
    let d = state[3]!;
    let e = state[4]!;
    let f = state[5]!;
    let g = state[6]!;
    let h = state[7]!;
    for (let i = 0; i < 64; i++) {
      const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
      const t1 = (h + s1 + ((e & f) ^ (~e & g)) + k[i]! + w[i]!) | 0;
      const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
      const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + t1) | 0;
      d = c;
      c = b;
      b = a;
      a = (t1 + t2) | 0;
    }
    state[0] = state[0]! + a;
    state[1] = state[1]! + b;
    state[2] = state[2]! + c;
    state[3] = state[3]! + d;
    state[4] = state[4]! + e;
    state[5] = state[5]! + f;
    state[6] = state[6]! + g;
    state[7] = state[7]! + h;
  }
}

function firstPrimes(count: number): number[] {
  const primes: number[] = [];
  for (let number = 2; primes.length < count; number++) {
    if (primes.every((prime) => number % prime !== 0)) {
      primes.push(number);
    }
  }
  return primes;
}

/** The first 32 bits behind the point. A double has 52, of which no root here needs more than 4 before it. */
function fractionBits(value: number): number {
  return Math.floor((value - Math.floor(value)) * 2 ** 32) | 0;
}
