/**
 * JSON from outside, checked field by field: each error names the field and says what is wrong.
 *
 * A check gives the value as its type, or throws. Objects have exactly the fields that their check
 * names: what nobody knows is refused, not dropped.
 */
import { TransomError } from "../errors.ts";

/** @param path as people find it: `conversations[3].turns[0].role`. */
export type Check<T> = (value: unknown, path: string) => T;

export function refuse(path: string, problem: string): never {
  throw new TransomError("invalid-request", `${path} ${problem}.`);
}

/** @param most UTF-16 units. */
export function text(most: number, least = 0): Check<string> {
  return (value, path) => {
    if (typeof value !== "string") {
      return refuse(path, "is no text");
    }
    if (value.length < least) {
      return refuse(path, "is empty");
    }
    return value.length > most
      ? refuse(path, `has ${value.length} characters, and ${most} are the most`)
      : value;
  };
}

export function pattern(form: RegExp, what: string): Check<string> {
  return (value, path) =>
    typeof value === "string" && form.test(value) ? value : refuse(path, `is no ${what}`);
}

export const flag: Check<boolean> = (value, path) =>
  typeof value === "boolean" ? value : refuse(path, "is neither true nor false");

/** JSON has no infinities, but 1e999 is read as one. */
export const number: Check<number> = (value, path) =>
  typeof value === "number" && Number.isFinite(value) ? value : refuse(path, "is no number");

export function integer(least: number, most: number): Check<number> {
  return (value, path) =>
    Number.isSafeInteger(value) && Number(value) >= least && Number(value) <= most
      ? Number(value)
      : refuse(path, `is no whole number from ${least} to ${most}`);
}

export function oneOf<const T extends string>(...values: readonly T[]): Check<T> {
  return (value, path) =>
    values.find((each) => each === value) ?? refuse(path, `is none of ${values.join(", ")}`);
}

export function nullable<T>(check: Check<T>): Check<T | null> {
  return (value, path) => (value === null ? null : check(value, path));
}

export function list<T>(check: Check<T>, most: number): Check<T[]> {
  return (value, path) => {
    if (!Array.isArray(value)) {
      return refuse(path, "is no list");
    }
    if (value.length > most) {
      return refuse(path, `has ${value.length} entries, and ${most} are the most`);
    }
    return value.map((each, index) => check(each, `${path}[${index}]`));
  };
}

/** Exactly these fields. */
export function object<T>(fields: { [K in keyof T]-?: Check<T[K]> }): Check<T> {
  return checkFields(fields, {});
}

/** These fields; the optional ones may be left out. */
export function objectWith<T>(
  fields: { [K in keyof T as object extends Pick<T, K> ? never : K]: Check<T[K]> },
  optional: {
    [K in keyof T as object extends Pick<T, K> ? K : never]-?: Check<Exclude<T[K], undefined>>;
  },
): Check<T> {
  return checkFields(fields, optional);
}

function checkFields<T>(
  fields: Readonly<Record<string, Check<unknown>>>,
  optional: Readonly<Record<string, Check<unknown>>>,
): Check<T> {
  const all = { ...fields, ...optional };
  const checks = Object.entries(all);
  return (value, path) => {
    const found = fieldsOf(value, path);
    refuseOthers(found, all, path);
    const checked: Record<string, unknown> = {};
    for (const [name, check] of checks) {
      if (Object.hasOwn(found, name)) {
        checked[name] = check(found[name], within(path, name));
      } else if (!Object.hasOwn(optional, name)) {
        refuse(within(path, name), "is missing");
      }
    }
    return checked as T;
  };
}

/** Any of these fields. */
export function partial<T>(fields: {
  [K in keyof T]-?: Check<Exclude<T[K], undefined>>;
}): Check<T> {
  return (value, path) => {
    const found = fieldsOf(value, path);
    refuseOthers(found, fields, path);
    const checks: Record<string, Check<unknown>> = fields;
    return Object.fromEntries(
      Object.entries(found).map(([name, field]) => [
        name,
        checks[name]?.(field, within(path, name)),
      ]),
    ) as T;
  };
}

export function fieldsOf(value: unknown, path: string): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Record<string, unknown>)
    : refuse(path, "is no object");
}

function refuseOthers(found: object, fields: object, path: string): void {
  for (const name of Object.keys(found)) {
    if (!Object.hasOwn(fields, name)) {
      refuse(within(path, shortened(name)), "is not known here");
    }
  }
}

/** Errors are read by people. */
function shortened(name: string): string {
  return name.length > 40 ? `${name.slice(0, 40)}…` : name;
}

function within(path: string, name: string): string {
  return path === "" ? name : `${path}.${name}`;
}
