/** Numbers between bounds, digit by digit. Pure. */
import { TransomError } from "../../errors.ts";
import { MAX_WHOLE, fraction } from "./json-rules.ts";
import { type Node, choice, optional, repeat, sequence, set, text } from "./node.ts";

/** Digits after the point of a bound that are looked at; the rest is rounded inwards. */
const MAX_DECIMALS = 6;
/** How near to a bound that is left out a number may come: 0.01. */
const OPEN_DECIMALS = 2;

/** Infinite where there is none. */
export interface Bounds {
  min: number;
  max: number;
  exclusiveMin: number;
  exclusiveMax: number;
}

/** Whole numbers within the bounds. @throws TransomError where there are none. */
export function integerNode(bounds: Bounds): Node {
  const low = Math.max(Math.ceil(bounds.min), Math.floor(bounds.exclusiveMin) + 1, -MAX_WHOLE);
  const high = Math.min(Math.floor(bounds.max), Math.ceil(bounds.exclusiveMax) - 1, MAX_WHOLE);
  return signed(low, high, whole);
}

/** Numbers within the bounds. @throws TransomError where there are none. */
export function numberNode({ min, max, exclusiveMin, exclusiveMax }: Bounds): Node {
  const given = [min, max, exclusiveMin, exclusiveMax].filter(Number.isFinite);
  const hasOpen = Number.isFinite(exclusiveMin) || Number.isFinite(exclusiveMax);
  const decimals = Math.max(hasOpen ? OPEN_DECIMALS : 0, ...given.map(decimalsOf));
  const unit = 10 ** decimals;
  const most = Math.floor(Number.MAX_SAFE_INTEGER / 10 / unit) * unit;
  // 0.29 * 100 is a little less than 29.
  const scaled = (bound: number) => Number((bound * unit).toPrecision(MAX_WHOLE_DIGITS));
  const low = Math.max(Math.ceil(scaled(min)), Math.floor(scaled(exclusiveMin)) + 1, -most);
  const high = Math.min(Math.floor(scaled(max)), Math.ceil(scaled(exclusiveMax)) - 1, most);
  return signed(low, high, (from, to) => decimal(from, to, unit, decimals));
}

const MAX_WHOLE_DIGITS = String(MAX_WHOLE).length;

function decimalsOf(bound: number): number {
  for (let decimals = 0; decimals < MAX_DECIMALS; decimals++) {
    if (Number(bound.toFixed(decimals)) === bound) {
      return decimals;
    }
  }
  return MAX_DECIMALS;
}

/** A range around zero, of which `between` writes the parts on one side. */
function signed(low: number, high: number, between: (from: number, to: number) => Node): Node {
  if (low > high) {
    throw new TransomError(
      "invalid-request",
      "The JSON schema cannot be used: its bounds leave no number between them.",
    );
  }
  return choice(
    ...(high >= 0 ? [between(Math.max(0, low), high)] : []),
    ...(low < 0 ? [sequence(text("-"), between(Math.max(1, -high), -low))] : []),
  );
}

/** Numbers from 0 up, as so many units of the last place. */
function decimal(low: number, high: number, unit: number, decimals: number): Node {
  const [first, last] = [Math.floor(low / unit), Math.floor(high / unit)];
  const places = (from: number, to: number) =>
    afterPoint(String(from).padStart(decimals, "0"), String(to).padStart(decimals, "0"));
  const options: Node[] = [];
  const cell = (at: number, from: number, to: number) => {
    if (from === 0) {
      options.push(text(String(at)));
    }
    if (to > 0) {
      options.push(sequence(text(`${at}.`), places(from, to)));
    }
  };
  if (first === last) {
    cell(first, low % unit, high % unit);
  } else {
    const isCut = low % unit > 0;
    if (isCut) {
      cell(first, low % unit, unit - 1);
    }
    const next = isCut ? first + 1 : first;
    if (next < last) {
      options.push(sequence(whole(next, last - 1), optional(fraction())));
    }
    cell(last, 0, high % unit);
  }
  return choice(...options);
}

/** Whole numbers from 0 up. */
function whole(low: number, high: number): Node {
  const options: Node[] = [];
  for (let from = low; from <= high;) {
    const length = String(from).length;
    const to = Math.min(high, 10 ** length - 1);
    options.push(sameLength(String(from), String(to)));
    from = to + 1;
  }
  return choice(...options);
}

/** Rows of digits from one to another of the same length. */
function sameLength(low: string, high: string): Node {
  if (low === high) {
    return text(low);
  }
  const rest = low.length - 1;
  const [first, last] = [Number(low[0]), Number(high[0])];
  const isWholeStart = isZero(low.slice(1));
  const isWholeEnd = /^9*$/.test(high.slice(1));
  if (first === last) {
    return sequence(text(String(first)), sameLength(low.slice(1), high.slice(1)));
  }
  const options: Node[] = [];
  const from = isWholeStart ? first : first + 1;
  const to = isWholeEnd ? last : last - 1;
  if (!isWholeStart) {
    options.push(sequence(text(String(first)), sameLength(low.slice(1), "9".repeat(rest))));
  }
  if (from <= to) {
    options.push(sequence(digits(from, to), repeat(digits(0, 9), rest, rest)));
  }
  if (!isWholeEnd) {
    options.push(sequence(text(String(last)), sameLength("0".repeat(rest), high.slice(1))));
  }
  return choice(...options);
}

/** Digits after the point, from some to others of the same length, fewer or more of them. */
function afterPoint(low: string, high: string): Node {
  if (low === "") {
    return text("");
  }
  const [first, last] = [Number(low[0]), Number(high[0])];
  if (first === last) {
    const rest = afterPoint(low.slice(1), high.slice(1));
    return sequence(text(String(first)), isZero(low.slice(1)) ? optional(rest) : rest);
  }
  const from = isZero(low.slice(1)) ? first : first + 1;
  const options: Node[] = [];
  if (from > first) {
    const nines = "9".repeat(low.length - 1);
    options.push(sequence(text(String(first)), afterPoint(low.slice(1), nines)));
  }
  if (from < last) {
    options.push(sequence(digits(from, last - 1), repeat(digits(0, 9), 0, MAX_MORE)));
  }
  const zeros = "0".repeat(low.length - 1);
  const rest = isZero(high.slice(1)) ? text("") : optional(afterPoint(zeros, high.slice(1)));
  options.push(sequence(text(String(last)), rest));
  return choice(...options);
}

/** Digits past those of the bounds. */
const MAX_MORE = 9;

function isZero(row: string): boolean {
  return /^0*$/.test(row);
}

function digits(from: number, to: number): Node {
  return set([0x30 + from, 0x30 + to]);
}
