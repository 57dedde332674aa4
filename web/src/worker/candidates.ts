/**
 * Which tokens may be drawn: the filters of llama.cpp, in its order and with its meaning. Pure.
 *
 *     top-k, typical, top-p, min-p         each on what the one before has left
 *
 * They look at probabilities at temperature 1; the temperature comes after them. At least one token
 * is always left.
 */

export interface Filters {
  /** So many of the likeliest; 0: all. */
  topK: number;
  /** Of the tokens whose surprise is nearest to what is to be expected, so much weight; 1: all. */
  typicalP: number;
  /** The fewest of the likeliest that hold so much weight; 1: all. */
  topP: number;
  /** None that is less likely than so much of the likeliest; 0: all. */
  minP: number;
}

/**
 * The ids that pass, the likeliest first; null when all do.
 *
 * A heap gives tokens in order of weight one by one; with a peaked distribution a handful is enough,
 * so the vocabulary is sorted only where a filter has to see all of it.
 *
 * @param weights exp(logit - largest logit) of every token.
 */
export function candidates(weights: Float64Array, filters: Filters): number[] | null {
  const { topK, typicalP, topP, minP } = filters;
  const isLimited = topK > 0 && topK < weights.length;
  if (!isLimited && typicalP >= 1 && topP >= 1 && minP <= 0) {
    return null;
  }
  const heap = new WeightHeap(weights);
  const weightOf = (id: number) => weights[id] ?? 0;
  const drained = heap.drain(isLimited ? topK : weights.length);
  const kept = isLimited || typicalP < 1 ? typical([...drained], weightOf, typicalP) : null;
  const total =
    kept === null ? weights.reduce((sum, weight) => sum + weight, 0) : sumOf(kept, weightOf);
  const passed: number[] = [];
  let held = 0;
  let largest = 0;
  for (const id of kept ?? drained) {
    const weight = weightOf(id);
    largest ||= weight;
    if (passed.length > 0 && (held >= topP * total || weight < minP * largest)) {
      break;
    }
    passed.push(id);
    held += weight;
  }
  return passed;
}

/** Locally typical sampling (Meister et al., 2022). @param ids the likeliest first; so they stay. */
function typical(ids: number[], weightOf: (id: number) => number, typicalP: number): number[] {
  if (typicalP >= 1) {
    return ids;
  }
  const total = sumOf(ids, weightOf);
  const surprise = new Map(ids.map((id) => [id, -Math.log(weightOf(id) / total)]));
  const surpriseOf = (id: number) => surprise.get(id) ?? Infinity;
  let entropy = 0;
  for (const id of ids) {
    const share = weightOf(id) / total;
    entropy += share > 0 ? share * surpriseOf(id) : 0;
  }
  const distance = (id: number) => Math.abs(surpriseOf(id) - entropy);
  const kept = new Set<number>();
  let held = 0;
  for (const id of ids.toSorted((one, other) => distance(one) - distance(other))) {
    if (kept.size > 0 && held >= typicalP * total) {
      break;
    }
    kept.add(id);
    held += weightOf(id);
  }
  return ids.filter((id) => kept.has(id));
}

function sumOf(ids: readonly number[], weightOf: (id: number) => number): number {
  return ids.reduce((sum, id) => sum + weightOf(id), 0);
}

/** A binary heap of indices, heaviest first; of equal weights the smaller index first. */
class WeightHeap {
  readonly #weights: Float64Array;
  readonly #heap: Uint32Array;
  size: number;

  constructor(weights: Float64Array) {
    this.#weights = weights;
    this.#heap = Uint32Array.from(weights, (_, index) => index);
    this.size = weights.length;
    for (let at = Math.floor(this.size / 2) - 1; at >= 0; at--) {
      this.#sink(at);
    }
  }

  /** So many ids, the heaviest first. */
  *drain(count: number): Generator<number> {
    for (let given = 0; given < count && this.size > 0; given++) {
      yield this.#pop();
    }
  }

  #pop(): number {
    const top = this.#at(0);
    this.size--;
    this.#heap[0] = this.#at(this.size);
    this.#sink(0);
    return top;
  }

  #at(position: number): number {
    return this.#heap[position] ?? 0;
  }

  #isHeavier(left: number, right: number): boolean {
    const a = this.#weights[left] ?? 0;
    const b = this.#weights[right] ?? 0;
    return a > b || (a === b && left < right);
  }

  #sink(start: number): void {
    const moving = this.#at(start);
    let at = start;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= this.size) {
        break;
      }
      if (child + 1 < this.size && this.#isHeavier(this.#at(child + 1), this.#at(child))) {
        child++;
      }
      if (!this.#isHeavier(this.#at(child), moving)) {
        break;
      }
      this.#heap[at] = this.#at(child);
      at = child;
    }
    this.#heap[at] = moving;
  }
}
