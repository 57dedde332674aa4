/**
 * Numbers of the calculator: fractions of whole numbers while they stay small, doubles beyond.
 *
 * So 0.1 + 0.2 is 0.3, 1/3 * 3 is 1 and 2^100 has all its digits. What a function gives (`sin`), or
 * what would grow over the limit, is a double.
 */

/** Numerator and denominator, without common divisors; the denominator is positive. */
export interface Fraction {
  n: bigint;
  d: bigint;
}

/** A double stands for itself. */
export type Value = Fraction | number;

/** About 1200 digits: a divisor of two such numbers is found in a millisecond. */
const MAX_BITS = 4096;
/** More digits than this help nobody; the rest is told by an exponent. */
const MAX_WHOLE_DIGITS = 80;
const MAX_DECIMALS = 30;
/** As many as doubles keep. */
const SIGNIFICANT_DIGITS = 15;

/** A fraction in its lowest terms; a double where it is over the limit. `d` is not 0. */
export function fraction(n: bigint, d = 1n): Value {
  const sign = d < 0n ? -1n : 1n;
  const divisor = greatestDivisor(n, d) * sign;
  const lowest = { n: n / divisor, d: d / divisor };
  return bitsOf(lowest.n) > MAX_BITS || bitsOf(lowest.d) > MAX_BITS ? asDouble(lowest) : lowest;
}

export function isFraction(value: Value): value is Fraction {
  return typeof value !== "number";
}

/** Null: it is none, or a double. */
export function asWhole(value: Value): bigint | null {
  return isFraction(value) && value.d === 1n ? value.n : null;
}

export function asDouble(value: Value): number {
  if (!isFraction(value)) {
    return value;
  }
  const { n, d } = value;
  const whole = Number(n) / Number(d);
  if (Number.isFinite(whole) && whole !== 0) {
    return whole;
  }
  // Both are over what a double can be: take off as much of both as leaves 128 bits.
  const shift = BigInt(Math.max(0, Math.min(bitsOf(n), bitsOf(d)) - 128));
  return Number(n >> shift) / Number(d >> shift);
}

export function add(a: Value, b: Value): Value {
  return isFraction(a) && isFraction(b)
    ? fraction(a.n * b.d + b.n * a.d, a.d * b.d)
    : asDouble(a) + asDouble(b);
}

export function negate(a: Value): Value {
  return isFraction(a) ? { n: -a.n, d: a.d } : -a;
}

export function multiply(a: Value, b: Value): Value {
  return isFraction(a) && isFraction(b)
    ? fraction(a.n * b.n, a.d * b.d)
    : asDouble(a) * asDouble(b);
}

/** @throws RangeError where `b` is 0. */
export function divide(a: Value, b: Value): Value {
  if (asDouble(b) === 0 && (!isFraction(b) || b.n === 0n)) {
    throw new RangeError("division by zero");
  }
  return isFraction(a) && isFraction(b)
    ? fraction(a.n * b.d, a.d * b.n)
    : asDouble(a) / asDouble(b);
}

export function floor(a: Value): Value {
  if (!isFraction(a)) {
    return Math.floor(a);
  }
  const whole = a.n / a.d;
  return { n: a.n % a.d !== 0n && a.n < 0n ? whole - 1n : whole, d: 1n };
}

/** What is left after whole times `b`, with the sign of `b`: `-7 % 3` is 2. */
export function remainder(a: Value, b: Value): Value {
  return add(a, negate(multiply(b, floor(divide(a, b)))));
}

/** -1, 0 or 1. */
export function compare(a: Value, b: Value): number {
  if (isFraction(a) && isFraction(b)) {
    const difference = a.n * b.d - b.n * a.d;
    return difference === 0n ? 0 : difference < 0n ? -1 : 1;
  }
  return Math.sign(asDouble(a) - asDouble(b));
}

export function power(a: Value, b: Value): Value {
  const exponent = asWhole(b);
  if (isFraction(a) && exponent !== null) {
    const size = exponent < 0n ? -exponent : exponent;
    if (exponent < 0n && a.n === 0n) {
      throw new RangeError("division by zero: 0 to a negative power");
    }
    const bits = BigInt(Math.max(bitsOf(a.n), bitsOf(a.d)));
    // The size of the result is known before it is made.
    if (bits <= 1n || bits * size <= BigInt(MAX_BITS)) {
      // Of 0, 1 and -1 only whether the exponent is odd counts.
      const times = bits <= 1n && a.d === 1n && size > 2n ? 2n - (size % 2n) : size;
      const n = a.n ** times;
      const d = a.d ** times;
      return exponent < 0n ? fraction(d, n) : fraction(n, d);
    }
  }
  return asDouble(a) ** asDouble(b);
}

/** The greatest number that divides both; 1 for two zeros. */
export function greatestDivisor(a: bigint, b: bigint): bigint {
  let [x, y] = [a < 0n ? -a : a, b < 0n ? -b : b];
  while (y !== 0n) {
    [x, y] = [y, x % y];
  }
  return x === 0n ? 1n : x;
}

/** In digits, and whether that is all of it. */
export function written(value: Value): { text: string; isExact: boolean } {
  if (isFraction(value)) {
    const text = exactDigits(value);
    if (text !== null) {
      return { text, isExact: true };
    }
  }
  const double = asDouble(value);
  return { text: String(Number(double.toPrecision(SIGNIFICANT_DIGITS))), isExact: false };
}

function exactDigits({ n, d }: Fraction): string | null {
  let decimals = 0;
  let rest = d;
  let scale = 1n;
  // It ends where the denominator divides a power of ten.
  while (rest !== 1n && decimals < MAX_DECIMALS) {
    decimals += 1;
    scale *= 10n;
    rest = d / greatestDivisor(d, scale);
  }
  if (rest !== 1n) {
    return null;
  }
  const digits = ((n < 0n ? -n : n) * (scale / d)).toString().padStart(decimals + 1, "0");
  const whole = digits.slice(0, digits.length - decimals);
  if (whole.length > MAX_WHOLE_DIGITS) {
    return null;
  }
  const sign = n < 0n ? "-" : "";
  return sign + (decimals === 0 ? whole : `${whole}.${digits.slice(-decimals)}`);
}

function bitsOf(n: bigint): number {
  return (n < 0n ? -n : n).toString(16).length * 4 - (n === 0n ? 4 : leadingZeros(n));
}

/** Of the first hexadecimal digit. */
function leadingZeros(n: bigint): number {
  const first = Number.parseInt((n < 0n ? -n : n).toString(16).slice(0, 1), 16);
  return Math.clz32(first) - 28;
}
