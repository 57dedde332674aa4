/** The address, or "back", leads to a conversation that was deleted, or that another browser has. */
import { words } from "../i18n/words.ts";
import { Frame } from "./door.tsx";

export interface MissingConversationProps {
  onNewChat: () => void;
  /** Null: it cannot come back. */
  onUndo: (() => void) | null;
}

export function MissingConversation({ onNewChat, onUndo }: MissingConversationProps) {
  const { chat, shell, sidebar } = words.value;
  const { title, undoable, gone } = chat.missing;
  return (
    <Frame
      form="is-warning"
      light={0}
      title={title}
      text={onUndo === null ? gone : undoable}
      choices={[
        ...(onUndo === null
          ? []
          : [
              <button type="button" onClick={onUndo}>
                {sidebar.undo}
              </button>,
            ]),
        <button type="button" onClick={onNewChat}>
          {shell.newChat}
        </button>,
      ]}
    />
  );
}
