/** The field in which a question is written, and what stands around it. */
import type { ComponentChildren, RefObject } from "preact";
import { useLayoutEffect, useRef } from "preact/hooks";

import { words } from "../i18n/words.ts";

/** As the server takes a request: more text than that is a file (`documents/`). */
const MAX_CHARACTERS = 100_000;

export interface ComposerProps {
  text: string;
  onText: (text: string) => void;
  onSend: () => void;
  onStop: () => void;
  isAnswering: boolean;
  /** There is somebody to ask, and nothing is half read. */
  canSend: boolean;
  /** "enter": Enter sends; "ctrl-enter": only with Ctrl or the command key. */
  sendKey: "enter" | "ctrl-enter";
  field: RefObject<HTMLTextAreaElement | null>;
  /** Files may be asked about without a word. */
  hasFiles: boolean;
  /** Above the field: files that go along. */
  above?: ComponentChildren;
  /** Before and behind the field. */
  before?: ComponentChildren;
  behind?: ComponentChildren;
}

export function Composer(props: ComposerProps) {
  const { text, isAnswering, field } = props;
  const { composer } = words.value;
  const form = useRef<HTMLFormElement>(null);
  const isEmpty = text.trim() === "" && !props.hasFiles;
  useLayoutEffect(() => {
    fit(field.current);
  }, [text, field]);
  return (
    <form
      class="composer"
      id="composer"
      ref={form}
      onSubmit={(event) => {
        event.preventDefault();
        if (props.canSend && !isAnswering && !isEmpty) {
          props.onSend();
        }
      }}
    >
      {props.above}
      <div class="composer-line">
        {props.before}
        <label class="hidden" for="question">
          {composer.message}
        </label>
        <textarea
          id="question"
          ref={field}
          rows={1}
          value={text}
          placeholder={composer.placeholder}
          enterkeyhint="send"
          autocomplete="off"
          maxLength={MAX_CHARACTERS}
          aria-describedby="keys"
          // Without a text, the placeholder's.
          dir={text === "" ? undefined : "auto"}
          onInput={(event) => {
            props.onText(event.currentTarget.value);
          }}
          onKeyDown={(event) => {
            const isAsked =
              props.sendKey === "enter" ? !event.shiftKey : event.ctrlKey || event.metaKey;
            // An input method uses Enter to accept its suggestion.
            if (event.key === "Enter" && isAsked && !event.isComposing) {
              event.preventDefault();
              form.current?.requestSubmit();
            }
          }}
        />
        {props.behind}
        {isAnswering ? (
          // A button of its own, or this press would send what is in the field as the other appears.
          <button
            key="stop"
            class="send stop"
            id="stop"
            type="button"
            aria-label={composer.stop}
            onClick={() => {
              props.onStop();
              field.current?.focus();
            }}
          >
            <svg viewBox="0 0 24 24" aria-hidden="true">
              <rect x="5.5" y="5.5" width="13" height="13" rx="2.5" />
            </svg>
          </button>
        ) : (
          <button
            key="send"
            class="send"
            id="send"
            type="submit"
            aria-label={composer.send}
            disabled={!props.canSend || isEmpty}
          >
            <svg viewBox="0 0 24 24" aria-hidden="true">
              <path d="M12 19V5M5.5 11.5 12 5l6.5 6.5" />
            </svg>
          </button>
        )}
      </div>
      <p class="hidden" id="keys">
        {props.sendKey === "enter" ? composer.keys : composer.keysWithCtrl}
      </p>
    </form>
  );
}

/** Where CSS cannot let the field grow with its text (`field-sizing`), this does. */
function fit(field: HTMLTextAreaElement | null): void {
  if (field !== null && !CSS.supports("field-sizing", "content")) {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight}px`;
  }
}
