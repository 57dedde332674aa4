/** A conversation's title while it is changed: Enter and leaving keep it, Escape does not. */
import { useLayoutEffect, useRef } from "preact/hooks";

import { oneLine } from "../../chat/title.ts";
import { words } from "../i18n/words.ts";

/** One line of words; the list shows fewer. */
const MAX_CHARACTERS = 200;

export interface TitleFieldProps {
  title: string;
  /** Null: it stays as it was. */
  onDone: (title: string | null) => void;
}

export function TitleField({ title, onDone }: TitleFieldProps) {
  const { sidebar } = words.value;
  const field = useRef<HTMLInputElement>(null);
  const isDone = useRef(false);
  // Before the next key: whoever is quick goes on from there.
  useLayoutEffect(() => {
    field.current?.focus();
    field.current?.select();
  }, []);
  const end = (isKept: boolean) => {
    // Escape takes the field away, which is another way of leaving it.
    if (!isDone.current) {
      isDone.current = true;
      const changed = oneLine(field.current?.value ?? "");
      onDone(isKept && changed !== "" && changed !== title ? changed : null);
    }
  };
  return (
    <input
      ref={field}
      class="title-field"
      aria-label={sidebar.titleField}
      maxLength={MAX_CHARACTERS}
      defaultValue={title}
      dir="auto"
      onBlur={() => {
        end(true);
      }}
      onKeyDown={(event) => {
        if (event.isComposing) {
          return;
        }
        if (event.key === "Enter" || event.key === "Escape") {
          event.preventDefault();
          event.stopPropagation();
          end(event.key === "Enter");
        }
      }}
    />
  );
}
