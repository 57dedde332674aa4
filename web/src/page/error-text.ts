/**
 * What went wrong, in the page's language. Errors are said in English where they happen, for programs and
 * logs; their codes and facts are said again here.
 */
import { type ErrorCode, type ErrorFacts, toWireError } from "../errors.ts";
import { formatBytes, formatWhole } from "./format.ts";
import type { Facts } from "./i18n/en/reasons.ts";
import { words } from "./i18n/words.ts";

/** English within Arabic, its full stop at its own end: between a first strong isolate and its end. */
export function isolated(text: string): string {
  return `\u2068${text}\u2069`;
}

export interface SaidError {
  code: ErrorCode;
  message: string;
  facts?: ErrorFacts | undefined;
}

/**
 * A sentence or two. With an error whose facts are not known as such, the English sentence stands behind:
 * it names the thing.
 */
export function errorText({ code, message, facts }: SaidError): string {
  const { errors, detailed } = words.value.reasons;
  const exactly = facts === undefined ? undefined : entry(detailed, code)?.(readable(facts));
  if (exactly !== undefined) {
    return exactly;
  }
  const roughly = entry(errors, code);
  // No brackets: where Arabic wraps, they end up in the middle of English lines.
  return roughly === undefined ? message : `${roughly.replace(/\.$/, "")}: ${isolated(message)}`;
}

/** Of anything thrown. */
export function thrownText(error: unknown): string {
  return errorText(toWireError(error));
}

/** In a few words, without a full stop; null: there are none in this language. */
export function briefly(code: string | null): string | null {
  return code === null ? null : (entry(words.value.reasons.briefly, code) ?? null);
}

/** Of a dictionary of words; undefined: it has none. */
export function entry<T>(dictionary: Readonly<Record<string, T>>, key: string): T | undefined {
  return Object.hasOwn(dictionary, key) ? dictionary[key] : undefined;
}

function readable(facts: ErrorFacts): Facts {
  return Object.fromEntries(
    Object.entries(facts).map(([name, fact]) => [
      name,
      typeof fact === "string"
        ? fact
        : name.endsWith("Bytes")
          ? formatBytes(fact)
          : formatWhole(fact),
    ]),
  ) as Facts;
}
