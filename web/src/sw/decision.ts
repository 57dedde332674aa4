/**
 * Who answers, and why, in words for `Transom-Served-By`. Pure.
 *
 *   wanted     adapter   server   answers
 *   server        any      yes    the server
 *   server        any      no     this browser
 *   browser       any      any    this browser, and never the server
 *   auto          yes      any    this browser; the server where it cannot
 *   auto          no       yes    the server; this browser where that is not reached
 *   auto          no       no     this browser, on the processor
 */
import type { Place, PlaceReason } from "../api-protocol.ts";

export interface Decision {
  where: "browser" | "server";
  why: string;
  code: PlaceReason;
  /** Whether the other one may answer where this one cannot. */
  mayTurn: boolean;
}

export function decide({ wanted, hasWebGpu, hasServer }: Place): Decision {
  switch (wanted) {
    case "browser":
      return { where: "browser", why: "as chosen", code: "chosen", mayTurn: false };
    case "server":
      return hasServer
        ? { where: "server", why: "as chosen", code: "chosen", mayTurn: true }
        : {
            where: "browser",
            why: "no server is behind this page",
            code: "no-server",
            mayTurn: false,
          };
    case "auto":
      if (hasWebGpu) {
        return {
          where: "browser",
          why: "models run on this device",
          code: "on-device",
          mayTurn: hasServer,
        };
      }
      return hasServer
        ? {
            where: "server",
            why: "this browser has no graphics adapter for models",
            code: "no-adapter",
            mayTurn: true,
          }
        : {
            where: "browser",
            why: "on the processor, with neither a graphics adapter nor a server",
            code: "processor",
            mayTurn: false,
          };
  }
}

/** A field value may hold printable ASCII; messages of engines hold anything, and may be long. */
const MAX_WHY_CHARACTERS = 300;

/** The value of `SERVED_BY_HEADER`. */
export function servedBy(where: Decision["where"], ...why: readonly string[]): string {
  const words = why.map((reason) => reason.replace(/[^ -~]+/g, "?").replace(/[.?;\s]+$/, ""));
  const text = [where, ...words.filter((reason) => reason !== "")].join("; ");
  return text.length <= MAX_WHY_CHARACTERS ? text : `${text.slice(0, MAX_WHY_CHARACTERS - 3)}...`;
}
