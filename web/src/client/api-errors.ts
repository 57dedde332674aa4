/**
 * What an API's refusals say, as errors for people: the words of whoever refused, and our code.
 *
 * OpenAI's `{"error": {"message", "code"}}`, Ollama's `{"error": "…"}`, and hosts that know
 * nothing of either.
 */
import { REASON_HEADER, SERVED_BY_HEADER } from "../api-protocol.ts";
import { ERROR_CODES, type ErrorCode, TransomError } from "../errors.ts";

/** More is no sentence for people. */
const MAX_MESSAGE_LENGTH = 2000;
/** Of the API: the model's template is missing, so it can only continue texts. */
const NO_TEMPLATE = "no_chat_template";

/** The service worker's last words where neither place answers (`sw/answering.ts`). */
const NOT_REACHED = "the server is not reached";

const CODES: Readonly<Record<string, ErrorCode>> = {
  model_not_found: "model-not-found",
  context_length_exceeded: "context-overflow",
  rate_limit_exceeded: "busy",
};

export interface Refusal {
  error: TransomError;
  /** The model continues texts at `/v1/completions`. */
  isTemplateMissing: boolean;
}

/** What an answer that is no success says. */
export async function refusalOf(response: Response): Promise<Refusal> {
  const { status, statusText } = response;
  const text = await response.text().catch(() => "");
  const body = parse(text);
  const otherwise = `This address answered ${[status, statusText].filter(Boolean).join(" ")}.`;
  const said = isObject(body) ? body["error"] : undefined;
  const why = response.headers.get(SERVED_BY_HEADER) ?? "";
  const error = apiError(said, otherwise, codeOf(response));
  return {
    // The browser's own refusal says nothing of the server that was asked first.
    error: why.endsWith(NOT_REACHED)
      ? new TransomError(error.code, `${error.message} ${asSentence(NOT_REACHED)}`)
      : error,
    isTemplateMissing: isObject(said) && said["code"] === NO_TEMPLATE,
  };
}

/** @param said the `error` of a body or of an event. */
export function apiError(
  said: unknown,
  otherwise: string,
  codeOtherwise: ErrorCode = "internal",
): TransomError {
  const message = isObject(said) ? said["message"] : said;
  const code = isObject(said) ? said["code"] : undefined;
  const known = typeof code === "string" ? CODES[code] : undefined;
  const words = typeof message === "string" && message !== "" ? message : otherwise;
  return new TransomError(known ?? codeOtherwise, asSentence(words.slice(0, MAX_MESSAGE_LENGTH)));
}

/** The engine's own, where this browser answered; its API has fewer codes than it. */
function codeOf({ status, headers }: Response): ErrorCode {
  const said = headers.get(REASON_HEADER);
  const known = ERROR_CODES.find((code) => code === said);
  if (known !== undefined) {
    return known;
  }
  if (status === 429 || status === 503) {
    return "busy";
  }
  return status >= 500 ? "network" : "invalid-request";
}

/** Servers begin in lower case and end without a full stop; pages do not. */
function asSentence(text: string): string {
  const first = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?…]$/.test(first) ? first : `${first}.`;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}
