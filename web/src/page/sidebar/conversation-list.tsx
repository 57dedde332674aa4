/** The list of conversations in groups, and what keys do in it. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import type { Conversation, Id } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Menu } from "../ui/menu.tsx";
import type { Group } from "./groups.ts";
import { focusEntry, moveAlong, stopAt } from "./moving.ts";
import { TitleField } from "./title-field.tsx";

export interface RowActions {
  open: (id: Id) => void;
  rename: (id: Id, title: string) => void;
  pin: (id: Id, isPinned: boolean) => void;
  remove: (conversation: Conversation) => void;
  exportMarkdown: (id: Id) => void;
  exportJson: (id: Id) => void;
}

export interface ConversationListProps {
  groups: readonly Group[];
  currentId: Id | null;
  answeringId: Id | null;
  actions: RowActions;
}

export function ConversationList(props: ConversationListProps) {
  const { groups, currentId, answeringId, actions } = props;
  const { sidebar } = words.value;
  const box = useRef<HTMLDivElement>(null);
  const [renaming, setRenaming] = useState<Id | null>(null);
  /** Who gets the focus once the list has changed. */
  const next = useRef<Id | null>(null);
  const all = groups.flatMap(({ conversations }) => conversations);

  const entry = (id: Id | null) =>
    [...(box.current?.querySelectorAll<HTMLElement>(".conversation") ?? [])].find(
      (element) => element.dataset["id"] === id,
    );
  useLayoutEffect(() => {
    if (next.current !== null && renaming === null) {
      const wanted = entry(next.current);
      if (wanted !== undefined) {
        next.current = null;
        focusEntry(box.current, wanted);
      }
    }
  });
  useLayoutEffect(() => {
    keepOneStop(box.current, currentId);
  });

  const remove = (conversation: Conversation) => {
    const at = all.findIndex(({ id }) => id === conversation.id);
    next.current = (all[at + 1] ?? all[at - 1])?.id ?? null;
    actions.remove(conversation);
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const element = event.target instanceof HTMLElement ? event.target : null;
    const conversation = all.find(({ id }) => id === element?.dataset["id"]);
    if (conversation === undefined || moveAlong(event, box.current)) {
      return;
    }
    if (event.key === "F2") {
      setRenaming(conversation.id);
    } else if (event.key === "Delete" || (event.key === "Backspace" && event.metaKey)) {
      remove(conversation);
    } else if (event.key === "ContextMenu" || (event.key === "F10" && event.shiftKey)) {
      element?.parentElement?.querySelector<HTMLElement>("[aria-haspopup]")?.click();
    } else {
      return;
    }
    event.preventDefault();
  };
  return (
    <div class="conversation-groups" ref={box} onKeyDown={onKeyDown}>
      <p class="hidden" id="conversation-keys">
        {sidebar.keys}
      </p>
      {groups.map(({ name, conversations }) => (
        <section key={name} aria-labelledby={`group-${name}`}>
          <h2 class="sidebar-group" id={`group-${name}`}>
            {sidebar.groups[name]}
          </h2>
          <ul class="conversations">
            {conversations.map((conversation) => (
              <li key={conversation.id} class="conversation-row">
                {renaming === conversation.id ? (
                  <TitleField
                    title={conversation.title}
                    onDone={(title) => {
                      setRenaming(null);
                      next.current = conversation.id;
                      if (title !== null) {
                        actions.rename(conversation.id, title);
                      }
                    }}
                  />
                ) : (
                  <Row
                    conversation={conversation}
                    isCurrent={conversation.id === currentId}
                    isAnswering={conversation.id === answeringId}
                    actions={{ ...actions, remove }}
                    onRename={() => {
                      setRenaming(conversation.id);
                    }}
                  />
                )}
              </li>
            ))}
          </ul>
        </section>
      ))}
    </div>
  );
}

interface RowProps {
  conversation: Conversation;
  isCurrent: boolean;
  isAnswering: boolean;
  actions: RowActions;
  onRename: () => void;
}

function Row({ conversation, isCurrent, isAnswering, actions, onRename }: RowProps) {
  const { sidebar } = words.value;
  const { id, isPinned } = conversation;
  const title = conversation.title === "" ? sidebar.untitled : conversation.title;
  return (
    <>
      <button
        class="conversation"
        type="button"
        data-id={id}
        title={title}
        aria-current={isCurrent ? "page" : undefined}
        aria-describedby="conversation-keys"
        onClick={() => {
          actions.open(id);
        }}
        onDblClick={onRename}
      >
        <span class="conversation-title" dir="auto">
          {title}
        </span>
        {isAnswering && (
          <span class="conversation-answering">
            <span class="hidden">{sidebar.answering}</span>
          </span>
        )}
        {isPinned && <Icon name="pin" />}
      </button>
      <Menu
        label={sidebar.more(title)}
        items={[
          { label: sidebar.rename, icon: "edit", onChoose: onRename },
          {
            label: isPinned ? sidebar.unpin : sidebar.pin,
            icon: "pin",
            onChoose: () => {
              actions.pin(id, !isPinned);
            },
          },
          {
            label: sidebar.exportMarkdown,
            icon: "document",
            onChoose: () => {
              actions.exportMarkdown(id);
            },
          },
          {
            label: sidebar.exportJson,
            icon: "download",
            onChoose: () => {
              actions.exportJson(id);
            },
          },
          {
            label: sidebar.delete,
            icon: "trash",
            isDanger: true,
            onChoose: () => {
              actions.remove(conversation);
            },
          },
        ]}
      />
    </>
  );
}

/**
 * The tab key stops at one conversation and its menu: the one that has the focus, else the one that
 * shows, else the first.
 */
function keepOneStop(box: HTMLElement | null, currentId: Id | null): void {
  const entries = [...(box?.querySelectorAll<HTMLElement>(".conversation") ?? [])];
  const row = document.activeElement?.closest(".conversation-row");
  const stop =
    entries.find((entry) => row?.contains(entry)) ??
    entries.find((entry) => entry.dataset["id"] === currentId) ??
    entries[0];
  stopAt(box, stop);
}
