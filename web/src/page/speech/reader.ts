/**
 * Reads texts aloud with voices of this device.
 *
 * A voice that is not `localService` would send the text to its maker, so those are never used: where
 * there is no other for a language, nothing is read.
 */
import { type ReadonlySignal, signal } from "@preact/signals";

import { piecesOf } from "./spoken-text.ts";

export type Synthesis = Pick<
  SpeechSynthesis,
  "getVoices" | "speak" | "cancel" | "addEventListener"
>;

/** The best local voice for a language; null: none is on this device. */
export function voiceFor<V extends Pick<SpeechSynthesisVoice, "lang" | "localService" | "default">>(
  voices: readonly V[],
  language: string,
  preferred: readonly string[],
): V | null {
  const wanted = primaryOf(language);
  const local = voices.filter(
    ({ lang, localService }) => localService && primaryOf(lang) === wanted,
  );
  const regions = preferred.map(normal).filter((tag) => primaryOf(tag) === wanted);
  return (
    local.find(({ lang }) => regions.includes(normal(lang))) ??
    local.find((voice) => voice.default) ??
    local[0] ??
    null
  );
}

export class Reader {
  readonly #synthesis: Synthesis | null;
  readonly #utter: (text: string) => SpeechSynthesisUtterance;
  readonly #reading = signal<string | null>(null);
  readonly #voices = signal<readonly SpeechSynthesisVoice[]>([]);
  #turn = 0;

  /** Whose text is being read; null: nothing is. */
  readonly reading: ReadonlySignal<string | null> = this.#reading;
  readonly voices: ReadonlySignal<readonly SpeechSynthesisVoice[]> = this.#voices;

  constructor(
    synthesis: Synthesis | null,
    utter = (text: string) => new SpeechSynthesisUtterance(text),
  ) {
    this.#synthesis = synthesis;
    this.#utter = utter;
    this.#voices.value = synthesis?.getVoices() ?? [];
    // They come late in most browsers.
    synthesis?.addEventListener("voiceschanged", () => {
      this.#voices.value = synthesis.getVoices();
    });
  }

  voiceFor(language: string): SpeechSynthesisVoice | null {
    return voiceFor(this.#voices.value, language, navigator.languages);
  }

  /** Stops whatever is being read. @param id whose text it is. */
  read(id: string, text: string, language: string): void {
    this.stop();
    const voice = this.voiceFor(language);
    if (this.#synthesis === null || voice === null) {
      return;
    }
    this.#reading.value = id;
    this.#speak(piecesOf(text, language), voice, this.#turn);
  }

  stop(): void {
    this.#turn += 1;
    this.#reading.value = null;
    this.#synthesis?.cancel();
  }

  /** One piece behind the other: a browser that has them all at once forgets some after a stop. */
  #speak(pieces: readonly string[], voice: SpeechSynthesisVoice, turn: number): void {
    const [piece, ...rest] = pieces;
    if (turn !== this.#turn) {
      return;
    }
    if (piece === undefined) {
      this.#reading.value = null;
      return;
    }
    const utterance = this.#utter(piece);
    utterance.voice = voice;
    utterance.lang = voice.lang;
    utterance.addEventListener("end", () => {
      this.#speak(rest, voice, turn);
    });
    utterance.addEventListener("error", () => {
      if (turn === this.#turn) {
        this.#reading.value = null;
      }
    });
    this.#synthesis?.speak(utterance);
  }
}

/** Android writes "de_DE". */
function normal(tag: string): string {
  return tag.replace("_", "-").toLowerCase();
}

function primaryOf(tag: string): string {
  return normal(tag).split("-")[0] ?? "";
}
