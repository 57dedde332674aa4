/** Asks once more, in place, and says what is really freed; the keyboard stays where it was. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { StoredModel } from "../../protocol.ts";
import { words } from "../i18n/words.ts";
import { bytesText, freedBytes } from "./models-words.ts";

export interface DeleteButtonProps {
  model: StoredModel;
  /** As people call it. */
  name: string;
  onDelete: () => Promise<void>;
  /** What else stands there while nothing is asked. */
  onAsking?: (isAsking: boolean) => void;
}

export function DeleteButton({ model, name, onDelete, onAsking }: DeleteButtonProps) {
  const [isAsking, setAsking] = useState(false);
  const [isBusy, setBusy] = useState(false);
  const asked = useRef<HTMLButtonElement>(null);
  const no = useRef<HTMLButtonElement>(null);
  const wasAsking = useRef(false);
  const said = words.value.storage;

  // Before the next key: whoever is quick goes on from there.
  useLayoutEffect(() => {
    if (isAsking) {
      no.current?.focus();
    } else if (wasAsking.current) {
      asked.current?.focus();
    }
    wasAsking.current = isAsking;
  }, [isAsking]);

  const ask = (value: boolean) => {
    setAsking(value);
    onAsking?.(value);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === "Escape") {
      // The dialog around it stays open.
      event.stopPropagation();
      event.preventDefault();
      ask(false);
    }
  };
  if (!isAsking) {
    return (
      <button
        ref={asked}
        class="quiet"
        type="button"
        disabled={model.isInUse}
        aria-label={said.deleteOf(name)}
        onClick={() => {
          ask(true);
        }}
      >
        {said.delete}
      </button>
    );
  }
  return (
    <>
      <button
        class="quiet is-danger"
        type="button"
        disabled={isBusy}
        onKeyDown={onKeyDown}
        onClick={() => {
          setBusy(true);
          onDelete().catch(() => {
            setBusy(false);
            ask(false);
          });
        }}
      >
        {said.deleteYes(bytesText(freedBytes(model)))}
      </button>
      <button
        ref={no}
        class="quiet"
        type="button"
        disabled={isBusy}
        onKeyDown={onKeyDown}
        onClick={() => {
          ask(false);
        }}
      >
        {said.cancel}
      </button>
      {model.sharedBytes > 0 && (
        <p class="models-aside">{said.deleteShared(bytesText(model.sharedBytes))}</p>
      )}
    </>
  );
}
