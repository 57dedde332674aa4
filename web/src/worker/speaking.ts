/** From an engine's tokens to an answer's text: what `chat` and `complete` have in common. */
import type { Done, GenerateRequest, TokenLogprobs } from "../protocol.ts";
import type { AnswerText } from "./answer-text.ts";
import type { TokenEngine } from "./token-engine.ts";

export interface TextEvent {
  /** Null for the text that was left when the answer ended inside a character. */
  tokenId: number | null;
  /** The text that became complete with this token; may be empty. */
  text: string;
  /** Only where the request asked for them, as the logits. */
  logprobs?: TokenLogprobs;
  logits?: Float32Array;
}

export interface Spoken extends Done {
  /** The stop text that ended it, where one did. */
  stop: string | null;
}

/**
 * Let the engine answer, up to the first stop text, which is not part of the answer.
 *
 * @param text a fresh one; what was answered before is told to it here.
 */
export async function speak(
  engine: TokenEngine,
  request: GenerateRequest,
  text: AnswerText,
  onEvent: (event: TextEvent) => void,
  signal?: AbortSignal,
): Promise<Spoken> {
  for (const tokenId of request.answeredTokenIds ?? []) {
    // Said already; what the decoder holds back of it was not.
    text.push(tokenId);
  }
  const found = new AbortController();
  const signals = signal === undefined ? [found.signal] : [found.signal, signal];
  let stop: string | null = null;
  const done = await engine.generate(
    request,
    (event) => {
      // The engine looks at the signal between tokens.
      if (found.signal.aborted) {
        return;
      }
      const said = text.push(event.tokenId);
      onEvent({ ...event, text: said.text });
      if (said.stop !== null) {
        stop = said.stop;
        found.abort();
      }
    },
    AbortSignal.any(signals),
  );
  if (found.signal.aborted) {
    return { ...done, finishReason: "stop", stopTokenId: null, stop };
  }
  const rest = text.finish();
  if (rest.text !== "") {
    onEvent({ tokenId: null, text: rest.text });
  }
  return { ...done, stop: rest.stop };
}
