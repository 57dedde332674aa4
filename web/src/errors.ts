/**
 * Errors that people read, with codes that survive `postMessage`.
 *
 * A structured clone keeps an Error's message but loses its class, so a context sends a
 * `WireError` and the other side rebuilds a `TransomError` from it. The message is one sentence
 * that names the thing and, where there is one, the way out. This file knows no context.
 */

/** What went wrong, for code that has to decide; the message is for people. */
export const ERROR_CODES = [
  "no-webgpu",
  "no-adapter",
  "no-service-worker",
  "adapter-too-small",
  "no-model",
  "model-not-found",
  "no-variant",
  "network",
  "digest-mismatch",
  "invalid-index",
  "invalid-manifest",
  "invalid-bundle",
  "context-overflow",
  "invalid-request",
  "not-loaded",
  "busy",
  "aborted",
  "device-lost",
  "gpu-error",
  "out-of-memory",
  "no-room",
  "engine-crashed",
  "internal",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/** The figures and names of a message, for whoever says it in another language; bytes end in `Bytes`. */
export type ErrorFacts = Readonly<Record<string, string | number>>;

/** The base of every error meant for people. */
export class TransomError extends Error {
  override readonly name = "TransomError";
  readonly code: ErrorCode;
  /** Undefined: the code alone says it. */
  readonly facts: ErrorFacts | undefined;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions & { facts?: ErrorFacts }) {
    super(message, options);
    this.code = code;
    this.facts = options?.facts;
  }
}

/** A `TransomError` as plain data. */
export interface WireError {
  code: ErrorCode;
  message: string;
  facts?: ErrorFacts;
}

/** Anything thrown, as plain data; what we did not foresee keeps its text under `internal`. */
export function toWireError(error: unknown): WireError {
  if (error instanceof TransomError) {
    const { code, message, facts } = error;
    return { code, message, ...(facts !== undefined && { facts }) };
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    return { code: "aborted", message: "Stopped." };
  }
  return { code: "internal", message: describe(error) };
}

/** The error that `toWireError` was given, as far as plain data can carry it. */
export function fromWireError(wire: WireError): TransomError {
  const { code, message, facts } = wire;
  return new TransomError(code, message, facts === undefined ? {} : { facts });
}

/** The text of anything thrown, never empty. */
export function describe(error: unknown): string {
  if (error instanceof Error) {
    return error.message === "" ? error.name : error.message;
  }
  return typeof error === "string" && error !== "" ? error : `unknown error (${typeof error})`;
}
