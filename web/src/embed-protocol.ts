/**
 * Every message between another site's page, our frame in it, and the window that asks the visitor.
 * Types only; docs/embedding.md tells the story, docs/security.md the threats.
 *
 *   other site (connect.js)            our frame (embed.html)            our window (consent.html)
 *    | -- connect (port P) ------------> |  origin on the list?
 *    | <-- P: refused ------------------ |  no
 *    | <-- P: waiting ------------------ |  nobody has agreed yet: the frame shows a button
 *    |                                   | -- ask(origin) ----------------> |  after a click
 *    |                                   | <- agreed / declined ----------- |
 *    | <-- P: open ---------------------- |
 *    | -- P: request, pull, cancel -----> |  fetch("v1/…"), answered in this browser or not at all
 *    | <-- P: head, chunk, end, failed -- |
 */

/** Another site's page -> frame, as a window message; a port is transferred with it. */
export interface ConnectMessage {
  kind: "transom-connect";
  /** Of these messages; a frame refuses what it does not know. */
  version: 1;
}

/** frame -> other site, on P. */
export type ToSite =
  | { kind: "refused"; reason: string }
  /** The visitor has to click in the frame first. */
  | { kind: "waiting" }
  /** Requests may come. */
  | { kind: "open" }
  | {
      kind: "head";
      id: number;
      status: number;
      headers: readonly (readonly [name: string, value: string])[];
    }
  | { kind: "chunk"; id: number; bytes: Uint8Array<ArrayBuffer> }
  | { kind: "end"; id: number }
  | { kind: "failed"; id: number; reason: string }
  /** The visitor has ended it; nothing follows. */
  | { kind: "closed"; reason: string };

/** other site -> frame, on P. */
export type ToFrame =
  | {
      kind: "request";
      id: number;
      method: string;
      /** From the API's root: `/v1/models`. */
      path: string;
      body: string | null;
    }
  /** One more chunk, please. */
  | { kind: "pull"; id: number }
  | { kind: "cancel"; id: number };

/** frame -> window. */
export interface AskVisitor {
  kind: "ask";
  /** Of the site that wants to use models. */
  origin: string;
}

/** window -> frame. */
export type FromVisitor =
  /** The window can be asked. */
  { kind: "ready" } | { kind: "agreed"; isRemembered: boolean } | { kind: "declined" };
