/** Numbers in [0, 1) for tests, the same for the same seed. */
import { philox } from "../../web/src/worker/random.ts";

export function randomNumbers(seed: number): () => number {
  let drawn = 0;
  return () => philox([drawn++, 0, 0, 0], [seed, 0])[0] / 2 ** 32;
}
