/** An answer's text, from its tokens: whole characters, up to a stop text. Pure. */
import type { Detokenizer } from "./detokenizer.ts";
import { StopTexts } from "./stop-texts.ts";

export interface Said {
  /** The part that is certain now; may be empty. */
  text: string;
  /** The stop text that ended the answer with this token. */
  stop: string | null;
}

export class AnswerText {
  readonly decoder: Detokenizer;
  readonly #stops: StopTexts;

  /** @param decoder a fresh one. @param stops texts that end the answer and are no part of it. */
  constructor(decoder: Detokenizer, stops: readonly string[]) {
    this.decoder = decoder;
    this.#stops = new StopTexts(stops);
  }

  push(tokenId: number): Said {
    return this.#stops.push(this.decoder.push(tokenId));
  }

  /** What was held back, once no more tokens come. */
  finish(): Said {
    const { text, stop } = this.#stops.push(this.decoder.finish());
    return { text: text + (stop === null ? this.#stops.finish() : ""), stop };
  }
}
