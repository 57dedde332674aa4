/** Reads an answer aloud. Not there where this device has no voice for its language. */
import { useEffect, useMemo } from "preact/hooks";

import { language, words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Reader } from "./reader.ts";
import { languageOf, spokenText } from "./spoken-text.ts";
import "./speech.css";

/** One for the page: two answers read at once are none. */
const reader = new Reader("speechSynthesis" in globalThis ? globalThis.speechSynthesis : null);

/** Another conversation is shown, or the page goes. */
export function stopReading(): void {
  reader.stop();
}

export interface SpeakButtonProps {
  /** Of the answer. */
  id: string;
  /** Markdown, whole. */
  text: string;
}

export function SpeakButton({ id, text }: SpeakButtonProps) {
  const { speech } = words.value;
  const page = language.value;
  const spoken = useMemo(() => spokenText(text), [text]);
  const tongue = useMemo(() => languageOf(spoken, page), [spoken, page]);
  const isReading = reader.reading.value === id;
  useEffect(
    () => () => {
      if (reader.reading.peek() === id) {
        reader.stop();
      }
    },
    [id],
  );
  if (spoken === "" || reader.voiceFor(tongue) === null) {
    return null;
  }
  return (
    <button
      class="icon-button"
      type="button"
      aria-label={isReading ? speech.stopReading : speech.readAloud}
      aria-pressed={isReading}
      title={isReading ? speech.stopReading : speech.readAloud}
      onClick={() => {
        if (isReading) {
          reader.stop();
        } else {
          reader.read(id, spoken, tongue);
        }
      }}
    >
      <Icon name={isReading ? "stop" : "speaker"} />
    </button>
  );
}
