/**
 * `window.transom`: the page for programs (`transom ask`, end-to-end tests).
 *
 * What a program asks shows on the screen like what a person asks. Vectors are for programs only.
 */
import type { AskOptions } from "../client/api-client.ts";
import type { AnswerReport, PartialAnswer } from "../chat/answer.ts";
import type { House } from "../client/house.ts";
import type { EngineClient } from "../client/engine-client.ts";
import type {
  Addressed,
  ChatRequest,
  Done,
  EmbedRequest,
  Embeddings,
  Fit,
  LoadProgress,
  LoadReport,
} from "../protocol.ts";
import type { Opened } from "./opening.ts";

export interface Automation {
  /** Resolves when the model can answer, here or at the server; rejects with what the page shows. */
  readonly ready: Promise<Opened>;
  /** Who answers; null where the page's address makes no sense. */
  readonly house: House | null;
  /**
   * Ask once the model is ready, within the conversation on the screen. Token ids come with
   * `logprobs: true` only.
   */
  ask(text: string, options?: AskOptions): Promise<AnswerReport>;
  /** One vector for each text, once an embedding model is ready; nothing shows on the screen. */
  embed(texts: readonly string[], options?: Omit<EmbedRequest, "texts">): Promise<Embeddings>;
  /** The running or last answer, as far as it came. */
  partial(): PartialAnswer;
  /** The last word on loading; null before the first. */
  progress(): LoadProgress | null;
  /** Stop the running answer. */
  stop(): void;
  /** Start a new conversation. */
  newChat(): void;
  /** Models beside the one on the screen; an address is the part after "?" of a page's. */
  readonly models: {
    load(address: string): Promise<LoadReport>;
    unload(model: string): Promise<void>;
    fit(address: string): Promise<Fit>;
    /** Answer without showing it. @param onPiece what has come, as it comes. */
    generate(
      request: ChatRequest & Addressed,
      onPiece?: (piece: { tokenId: number | null; text: string }) => void,
    ): Promise<Done & Pick<PartialAnswer, "text" | "tokenIds">>;
  };
  readonly storage: Pick<EngineClient, "stored" | "pin" | "remove">;
}

declare global {
  interface Window {
    transom: Automation;
  }
}
