/**
 * The walk of one request of the API: find out who answers, ask, turn to the other one where that fails
 * before the first byte, and say in a header who it was and why.
 */
import {
  type PlaceReason,
  REASON_HEADER,
  SERVED_BY_HEADER,
  WHERE_HEADER,
} from "../api-protocol.ts";
import type { ErrorCode, WireError } from "../errors.ts";
import { type Decision, decide, servedBy } from "./decision.ts";
import { type Refusal, forward } from "./forwarding.ts";
import {
  BodyTooLarge,
  type KeptRequest,
  MAX_BODY_BYTES,
  askServer,
  keepRequest,
} from "./kept-request.ts";
import type { Leader, Leaders } from "./leaders.ts";
import { ownError } from "./own-errors.ts";
import { carriesBlob } from "./routing.ts";

/** Chromium ends an event after five minutes, and the client hears of a broken connection only. */
const HEAD_MILLISECONDS = 285_000;
/** API workers that died over the same request; then it is likely to be the reason. */
const MAX_HANDOVERS = 5;

const NOBODY: Decision = {
  where: "server",
  why: "no page of Transom is open in this browser",
  code: "no-page",
  mayTurn: false,
};
const NOT_REACHED = "the server is not reached";
const UNREACHED = { why: NOT_REACHED, code: "not-reached" } as const;
const LATE = "It takes longer than browsers wait; ask for a stream, or ask again.";
const CLOSED = "the page that answers has been closed";
const LEAVING = "a newer build of the page takes over";

/** What became of asking this browser: `error` is why it could not, in words. */
type Local =
  | { response: Response }
  | { error: string; code: PlaceReason | ErrorCode; refusal: Refusal | null };

/** This service worker: its name, and when that is known to live (`life.ts`). */
export interface Self {
  id: string;
  lives: Promise<void>;
}

export class Answering {
  readonly #self: Self;
  readonly #leaders: Pick<Leaders, "find">;
  readonly #headMilliseconds: number;

  constructor(
    self: Self,
    leaders: Pick<Leaders, "find">,
    headMilliseconds: number = HEAD_MILLISECONDS,
  ) {
    this.#self = self;
    this.#leaders = leaders;
    this.#headMilliseconds = headMilliseconds;
  }

  /**
   * @param target from the API's root: `routing.ts`.
   * @param left aborted when the client has gone, as far as the request's own signal does not tell.
   * @param leaving aborted while this service worker answers nothing: `leaving.ts`. Ends bodies, too.
   * @throws only what ends the request as a broken connection: nobody waits for it any more.
   */
  async answer(
    request: Request,
    target: string,
    left: AbortSignal,
    leaving: AbortSignal,
  ): Promise<Response> {
    const gone = AbortSignal.any([request.signal, left]);
    const over = AbortSignal.any([gone, leaving]);
    try {
      over.throwIfAborted();
      return await unlessAborted(over, this.#answer(request, target, over));
    } catch (error) {
      if (gone.aborted || !leaving.aborted) {
        throw error;
      }
      const response = ownError(503, `Ask again in a moment: ${LEAVING}.`, target, request);
      return signed(response, "browser", "leaving", LEAVING);
    }
  }

  async #answer(request: Request, target: string, over: AbortSignal): Promise<Response> {
    const isForHere = request.headers.get(WHERE_HEADER) === "browser";
    const leader = await this.#leaders.find(over);
    over.throwIfAborted();
    if (leader === null && isForHere) {
      return signed(
        ownError(503, `${NOBODY.why}.`, target, request),
        "browser",
        NOBODY.code,
        NOBODY.why,
      );
    }
    const decision =
      leader === null
        ? NOBODY
        : decide(isForHere ? { ...leader.place, wanted: "browser" } : leader.place);
    if (carriesBlob(target) && leader?.place.hasServer === true && !isForHere) {
      return this.#passBlob(request, target, over);
    }
    let kept: KeptRequest;
    try {
      kept = await keepRequest(request, target, over);
    } catch (error) {
      if (error instanceof BodyTooLarge) {
        const words = `a body here can have ${MAX_BODY_BYTES} bytes at most`;
        const response = ownError(413, words, target, request);
        return signed(response, "browser", "too-large", "the body is too large");
      }
      throw error;
    }
    return leader === null || decision.where === "server"
      ? this.#serverFirst(kept, decision, leader)
      : this.#browserFirst(kept, decision, leader);
  }

  async #browserFirst(kept: KeptRequest, decision: Decision, leader: Leader): Promise<Response> {
    const local = await this.#askBrowser(kept, leader);
    if ("response" in local) {
      return signed(local.response, "browser", decision.code, decision.why);
    }
    if (decision.mayTurn) {
      const answer = await tryServer(kept);
      if (answer !== null) {
        const why = `this browser cannot: ${local.error}`;
        return signed(answer, "server", `cannot ${local.code}`, why);
      }
    }
    return refused(kept, local, decision.mayTurn ? UNREACHED : decision);
  }

  async #serverFirst(
    kept: KeptRequest,
    decision: Decision,
    leader: Leader | null,
  ): Promise<Response> {
    const answer = await tryServer(kept);
    // Without a leader nobody has said that there is a server; what a file server says is no answer.
    if (answer !== null && (leader !== null || !isPage(answer))) {
      return signed(answer, "server", decision.code, decision.why);
    }
    if (leader === null) {
      const words = `No page of Transom is open in this browser, and ${NOT_REACHED}.`;
      return refused(kept, { error: words, code: "not-reached", refusal: null }, UNREACHED);
    }
    const local = await this.#askBrowser(kept, leader);
    return "response" in local
      ? signed(local.response, "browser", "not-reached", NOT_REACHED)
      : refused(kept, local, UNREACHED);
  }

  /** A page that closes hands over to the next one. */
  async #askBrowser(kept: KeptRequest, first: Leader): Promise<Local> {
    await this.#self.lives;
    const late = AbortSignal.timeout(this.#headMilliseconds);
    let leader: Leader | null = first;
    for (let handovers = 0; leader !== null && handovers <= MAX_HANDOVERS; handovers++) {
      const { port } = leader;
      if (port === null) {
        const { message = CLOSED, code = "closed" as const } = leader.error ?? {};
        return { error: message, code, refusal: null };
      }
      const outcome = await forward(kept, { ...leader, port }, this.#self.id, late);
      switch (outcome.kind) {
        case "answer":
          return { response: outcome.response };
        case "refused":
          return { ...said(outcome.refusal.error), refusal: outcome.refusal };
        case "late":
          return { error: LATE, code: "late", refusal: null };
        case "gone":
          leader = await this.#leaders.find(kept.signal);
      }
    }
    return { error: CLOSED, code: "closed", refusal: null };
  }

  /** Too large to be kept, and for the server alone: it goes through unread. */
  async #passBlob(request: Request, target: string, signal: AbortSignal): Promise<Response> {
    try {
      return signed(
        await fetch(request, { signal }),
        "server",
        "files",
        "it keeps the files of models",
      );
    } catch {
      signal.throwIfAborted();
      const response = ownError(503, `${NOT_REACHED}.`, target, request);
      return signed(response, "browser", "not-reached", NOT_REACHED);
    }
  }
}

/** As the promise says, but no later than the signal. @throws the signal's reason. */
async function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  let end: () => void = () => undefined;
  const aborted = new Promise<never>((_, reject) => {
    end = () => {
      reject(signal.reason as Error);
    };
  });
  signal.addEventListener("abort", end);
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    // Signals live as long as they have listeners.
    signal.removeEventListener("abort", end);
  }
}

/** Null where it is not reached. @throws where nobody waits any more. */
async function tryServer(kept: KeptRequest): Promise<Response | null> {
  try {
    return await askServer(kept);
  } catch {
    kept.signal.throwIfAborted();
    return null;
  }
}

/** The API worker's own words, else ours. */
function refused(
  kept: KeptRequest,
  { error, code, refusal }: Extract<Local, { error: string }>,
  { why }: Pick<Decision, "why">,
): Response {
  const response =
    refusal === null
      ? ownError(503, error, kept.target, kept)
      : new Response(kept.method === "HEAD" ? null : refusal.body, {
          status: refusal.status,
          headers: refusal.headers.map(([name, value]): [string, string] => [name, value]),
        });
  return signed(response, "browser", code, error, why);
}

function said({ message, code }: WireError): { error: string; code: ErrorCode } {
  return { error: message, code };
}

function isPage(response: Response): boolean {
  return response.headers.get("Content-Type")?.startsWith("text/html") ?? false;
}

/** The same answer with our header; a fetched one's own cannot be changed. */
function signed(
  response: Response,
  where: Decision["where"],
  code: string,
  ...why: readonly string[]
): Response {
  const headers = new Headers(response.headers);
  headers.set(SERVED_BY_HEADER, servedBy(where, ...why));
  headers.set(REASON_HEADER, code);
  const { body, status, statusText } = response;
  return new Response(body, { status, statusText, headers });
}
