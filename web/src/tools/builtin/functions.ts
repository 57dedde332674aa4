/** What the calculator knows by name. */
import {
  add,
  asDouble,
  asWhole,
  compare,
  divide,
  floor,
  fraction,
  greatestDivisor,
  isFraction,
  multiply,
  negate,
  power,
  remainder,
  type Value,
} from "./exact.ts";

/** As far as they are exact (`exact.ts`). */
const MAX_FACTORIAL = 500n;
/** More would be steps that nobody waits for. */
const MAX_CHOICES = 10_000n;
const WHOLE: Value = { n: 1n, d: 1n };

export const CONSTANTS: Readonly<Record<string, Value>> = {
  pi: Math.PI,
  e: Math.E,
  tau: 2 * Math.PI,
  phi: (1 + Math.sqrt(5)) / 2,
  deg: Math.PI / 180,
};

export interface Named {
  /** How many arguments: from, to. */
  takes: readonly [least: number, most: number];
  /** @throws RangeError saying what it has no value for. */
  of: (...values: Value[]) => Value;
}

const MANY = 1000;

function double(of: (...values: number[]) => number, count = 1): Named {
  return { takes: [count, count], of: (...values) => of(...values.map(asDouble)) };
}

export const FUNCTIONS: Readonly<Record<string, Named>> = {
  abs: { takes: [1, 1], of: (a) => (compare(given(a), zero()) < 0 ? negate(given(a)) : given(a)) },
  sign: { takes: [1, 1], of: (a) => fraction(BigInt(compare(given(a), zero()))) },
  floor: { takes: [1, 1], of: (a) => floor(given(a)) },
  ceil: { takes: [1, 1], of: (a) => negate(floor(negate(given(a)))) },
  trunc: { takes: [1, 1], of: (a) => towardsZero(given(a)) },
  round: { takes: [1, 2], of: (a, ...[digits = zero()]) => rounded(given(a), digits) },
  sqrt: { takes: [1, 1], of: (a) => squareRoot(given(a)) },
  cbrt: double(Math.cbrt),
  exp: double(Math.exp),
  ln: { takes: [1, 1], of: (a) => logarithm(given(a), Math.log) },
  log: {
    takes: [1, 2],
    of: (a, ...[base]) =>
      base === undefined
        ? logarithm(given(a), Math.log10)
        : asDouble(logarithm(given(a), Math.log)) / asDouble(logarithm(base, Math.log)),
  },
  log2: { takes: [1, 1], of: (a) => logarithm(given(a), Math.log2) },
  log10: { takes: [1, 1], of: (a) => logarithm(given(a), Math.log10) },
  sin: double(Math.sin),
  cos: double(Math.cos),
  tan: double(Math.tan),
  asin: double(Math.asin),
  acos: double(Math.acos),
  atan: double(Math.atan),
  atan2: double(Math.atan2, 2),
  sinh: double(Math.sinh),
  cosh: double(Math.cosh),
  tanh: double(Math.tanh),
  radians: double((degrees) => (degrees * Math.PI) / 180),
  degrees: double((radians) => (radians * 180) / Math.PI),
  hypot: { takes: [1, MANY], of: (...values) => Math.hypot(...values.map(asDouble)) },
  pow: { takes: [2, 2], of: (a, b) => power(given(a), given(b)) },
  mod: { takes: [2, 2], of: (a, b) => remainder(given(a), given(b)) },
  min: {
    takes: [1, MANY],
    of: (...values) => values.reduce((a, b) => (compare(b, a) < 0 ? b : a)),
  },
  max: {
    takes: [1, MANY],
    of: (...values) => values.reduce((a, b) => (compare(b, a) > 0 ? b : a)),
  },
  sum: { takes: [1, MANY], of: (...values) => values.reduce(add) },
  mean: {
    takes: [1, MANY],
    of: (...values) => divide(values.reduce(add), fraction(BigInt(values.length))),
  },
  gcd: { takes: [1, MANY], of: (...values) => fraction(values.map(whole).reduce(commonDivisor)) },
  lcm: { takes: [1, MANY], of: (...values) => fraction(values.map(whole).reduce(commonMultiple)) },
  factorial: { takes: [1, 1], of: (a) => factorial(given(a)) },
  comb: { takes: [2, 2], of: (n, k) => choices(whole(given(n)), whole(given(k)), true) },
  perm: { takes: [2, 2], of: (n, k) => choices(whole(given(n)), whole(given(k)), false) },
};

/** @throws RangeError for all but whole numbers from 0 to 500. */
export function factorial(value: Value): Value {
  const n = whole(value);
  if (n < 0n || n > MAX_FACTORIAL) {
    throw new RangeError(`a factorial is of a whole number from 0 to ${MAX_FACTORIAL.toString()}`);
  }
  let product = WHOLE;
  for (let i = 2n; i <= n; i += 1n) {
    product = multiply(product, fraction(i));
  }
  return product;
}

/** The number of arguments was checked before. */
function given(value: Value | undefined): Value {
  if (value === undefined) {
    throw new RangeError("an argument is missing");
  }
  return value;
}

function zero(): Value {
  return { n: 0n, d: 1n };
}

function whole(value: Value): bigint {
  const n = asWhole(value);
  if (n === null) {
    throw new RangeError(`${asDouble(value)} is no whole number (or too large to be exact)`);
  }
  return n;
}

function towardsZero(value: Value): Value {
  return compare(value, zero()) < 0 ? negate(floor(negate(value))) : floor(value);
}

/** Halves go away from zero, as people are taught. */
function rounded(value: Value, digits: Value): Value {
  const places = whole(digits);
  if (places < -300n || places > 300n) {
    throw new RangeError("round takes from -300 to 300 digits");
  }
  const scale = power(fraction(10n), fraction(places));
  const scaled = multiply(value, scale);
  const half = fraction(1n, 2n);
  const size = compare(scaled, zero()) < 0 ? negate(scaled) : scaled;
  const nearest = floor(add(size, half));
  return divide(compare(scaled, zero()) < 0 ? negate(nearest) : nearest, scale);
}

function squareRoot(value: Value): Value {
  if (compare(value, zero()) < 0) {
    throw new RangeError("sqrt of a negative number has no real value");
  }
  if (isFraction(value)) {
    const n = wholeRoot(value.n);
    const d = wholeRoot(value.d);
    if (n !== null && d !== null) {
      return fraction(n, d);
    }
  }
  return Math.sqrt(asDouble(value));
}

/** Null: not a square. Newton's way, from above. */
function wholeRoot(n: bigint): bigint | null {
  if (n < 2n) {
    return n;
  }
  let root = 1n << BigInt(Math.ceil((n.toString(16).length * 4) / 2));
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) {
      return root * root === n ? root : null;
    }
    root = next;
  }
}

function logarithm(value: Value, of: (value: number) => number): Value {
  if (compare(value, zero()) <= 0) {
    throw new RangeError("a logarithm is of a number over 0");
  }
  return of(asDouble(value));
}

function commonDivisor(a: bigint, b: bigint): bigint {
  return a === 0n && b === 0n ? 0n : greatestDivisor(a, b);
}

function commonMultiple(a: bigint, b: bigint): bigint {
  const product = a * b;
  return product === 0n ? 0n : (product < 0n ? -product : product) / greatestDivisor(a, b);
}

/** Ways to take k of n, where their order counts not (`comb`) or does (`perm`). */
function choices(n: bigint, k: bigint, isUnordered: boolean): Value {
  if (n < 0n || k < 0n) {
    throw new RangeError("comb and perm take whole numbers from 0");
  }
  if (k > n) {
    return zero();
  }
  const steps = isUnordered && k > n - k ? n - k : k;
  if (steps > MAX_CHOICES) {
    throw new RangeError(`more than ${MAX_CHOICES.toString()} of them are too many`);
  }
  let product = WHOLE;
  for (let i = 0n; i < steps; i += 1n) {
    product = multiply(product, fraction(n - i));
    if (isUnordered) {
      product = divide(product, fraction(i + 1n));
    }
  }
  return product;
}
