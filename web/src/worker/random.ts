/**
 * Random numbers without state: a function of seed, position and token, the same on every machine.
 *
 * Philox 4x32 with ten rounds (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as
 * 1, 2, 3", 2011), in 32-bit integers only. The kernels of a program have the same, bit for bit
 * (`compile/transom_compile/kernels/random_numbers.py`): a sequence may go from CPU to GPU.
 */

const ROUNDS = 10;
const FIRST_MULTIPLIER = 0xd2511f53;
const SECOND_MULTIPLIER = 0xcd9e8d57;
const FIRST_KEY_STEP = 0x9e3779b9;
const SECOND_KEY_STEP = 0xbb67ae85;
/** Words of one `philox`, one for each of so many tokens. */
const WORDS = 4;
const RANGE = 2 ** 32;

/** Four random words for a counter of four and a key of two. */
export function philox(
  counter: readonly [number, number, number, number],
  key: readonly [number, number],
): [number, number, number, number] {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < ROUNDS; round++) {
    const mixed0 = highProduct(SECOND_MULTIPLIER, c2) ^ c1 ^ k0;
    const mixed2 = highProduct(FIRST_MULTIPLIER, c0) ^ c3 ^ k1;
    c1 = Math.imul(SECOND_MULTIPLIER, c2);
    c3 = Math.imul(FIRST_MULTIPLIER, c0);
    c0 = mixed0;
    c2 = mixed2;
    k0 = (k0 + FIRST_KEY_STEP) | 0;
    k1 = (k1 + SECOND_KEY_STEP) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/**
 * Noise after Gumbel for the tokens that may come at a position, -log(-log(v)) of random numbers
 * between 0 and 1: the largest of logit + noise is a draw from the softmax of the logits.
 *
 * @param seed a whole number; its low and high words are the key.
 */
export function gumbelNoise(seed: number, position: number): (tokenId: number) => number {
  const key = [seed | 0, Math.floor(seed / RANGE) | 0] as const;
  let lastBlock = -1;
  let words: readonly number[] = [];
  return (tokenId) => {
    const block = Math.floor(tokenId / WORDS);
    if (block !== lastBlock) {
      words = philox([block, position, 0, 0], key);
      lastBlock = block;
    }
    const share = ((words[tokenId % WORDS] ?? 0) + 0.5) / RANGE;
    return -Math.log(-Math.log1p(-share));
  };
}

/** The high word of a product of 64 bits. */
function highProduct(left: number, right: number): number {
  const leftLow = left & 0xffff;
  const leftHigh = left >>> 16;
  const rightLow = right & 0xffff;
  const rightHigh = right >>> 16;
  const lowest = Math.imul(leftLow, rightLow);
  const middle = (Math.imul(leftHigh, rightLow) + (lowest >>> 16)) >>> 0;
  const crossed = (Math.imul(leftLow, rightHigh) + (middle & 0xffff)) >>> 0;
  return (Math.imul(leftHigh, rightHigh) + (middle >>> 16) + (crossed >>> 16)) | 0;
}
