/** What the person said: shown, copied, edited. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { AttachmentView } from "../documents/attachment-view.tsx";
import { words } from "../i18n/words.ts";
import { Action, Branches, CopyButton } from "./turn-actions.tsx";
import type { TurnProps } from "./turn-props.ts";

export function Question({ turn, tree, isAnswering, actions }: TurnProps) {
  const { chat } = words.value;
  const [isEditing, setEditing] = useState(false);
  const item = useRef<HTMLLIElement>(null);
  const wasEditing = useRef(false);
  useLayoutEffect(() => {
    if (wasEditing.current && !isEditing) {
      item.current?.querySelector<HTMLElement>(".turn-actions button:last-child")?.focus();
    }
    wasEditing.current = isEditing;
  }, [isEditing]);
  if (isEditing) {
    return (
      <li class="asked is-editing">
        <QuestionEditor
          text={turn.text}
          onSave={(text) => {
            setEditing(false);
            actions.edit(turn.id, text);
          }}
          onCancel={() => {
            setEditing(false);
          }}
        />
      </li>
    );
  }
  return (
    <li class="asked" ref={item}>
      <div class="asked-bubble">
        <span class="hidden">{chat.you}: </span>
        {turn.attachments.length > 0 && (
          <AttachmentView attachments={turn.attachments} blobOf={actions.blobOf} />
        )}
        <p class="message-text" dir="auto">
          {turn.text}
        </p>
      </div>
      <div class="turn-actions">
        <Branches turn={turn} tree={tree} isAnswering={isAnswering} onChoose={actions.choose} />
        <CopyButton text={turn.text} />
        <Action
          icon="edit"
          label={chat.edit}
          isOff={isAnswering}
          onClick={() => {
            setEditing(true);
          }}
        />
      </div>
    </li>
  );
}

function QuestionEditor(props: {
  text: string;
  onSave: (text: string) => void;
  onCancel: () => void;
}) {
  const { chat, composer } = words.value;
  const [text, setText] = useState(props.text);
  const field = useRef<HTMLTextAreaElement>(null);
  // The attribute `autofocus` counts once in a document's life.
  useLayoutEffect(() => {
    field.current?.focus();
  }, []);
  return (
    <form
      class="editor"
      onSubmit={(event) => {
        event.preventDefault();
        if (text.trim() !== "") {
          props.onSave(text.trim());
        }
      }}
      onKeyDown={(event) => {
        if (event.key === "Escape") {
          event.stopPropagation();
          props.onCancel();
        } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
          event.currentTarget.requestSubmit();
        }
      }}
    >
      <textarea
        ref={field}
        aria-label={composer.message}
        value={text}
        rows={2}
        onInput={(event) => {
          setText(event.currentTarget.value);
        }}
      />
      <div class="editor-buttons">
        <button class="quiet" type="button" onClick={props.onCancel}>
          {chat.cancel}
        </button>
        <button class="primary" type="submit" disabled={text.trim() === ""}>
          {chat.saveEdit}
        </button>
      </div>
    </form>
  );
}
