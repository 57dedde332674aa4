/** A modal dialog: the browser's own, with a title, a way out, and the focus back where it was. */
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";

import { words } from "../i18n/words.ts";
import { Icon } from "./icon.tsx";

export interface DialogProps {
  title: string;
  /** Escape, the cross, or a click beside it. */
  onClose: () => void;
  /** "side": a panel along the edge, which is the whole screen of a phone. */
  form?: "middle" | "side";
  children: ComponentChildren;
}

export function Dialog({ title, onClose, form = "middle", children }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  useEffect(() => {
    const before = document.activeElement;
    element.current?.showModal();
    return () => {
      if (before instanceof HTMLElement && before.isConnected) {
        before.focus();
      }
    };
  }, []);
  return (
    <dialog
      ref={element}
      class={`dialog is-${form}`}
      aria-labelledby={titleId}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
      onClick={(event) => {
        if (event.target === element.current) {
          onClose();
        }
      }}
    >
      <div class="dialog-inside">
        <header class="dialog-head">
          <h2 id={titleId}>{title}</h2>
          <button
            class="icon-button"
            type="button"
            aria-label={words.value.shell.close}
            onClick={onClose}
          >
            <Icon name="close" />
          </button>
        </header>
        <div class="dialog-body">{children}</div>
      </div>
    </dialog>
  );
}
