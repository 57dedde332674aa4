/**
 * The conversations: find one, open it, name it, pin it, delete it, save and load them.
 *
 * Fills the box that it is put into, beside the chat or in a drawer.
 */
import "./sidebar.css";
import type { ReadonlySignal } from "@preact/signals";
import { useRef, useState } from "preact/hooks";

import type { Keeping } from "../../chat/database.ts";
import type { Hit } from "../../chat/search.ts";
import type { Conversation, Id } from "../../chat/types.ts";
import { describe } from "../../errors.ts";
import { isolated } from "../error-text.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { Menu } from "../ui/menu.tsx";
import { ConversationList } from "./conversation-list.tsx";
import { groupsOf } from "./groups.ts";
import { Found } from "./found.tsx";
import { UndoBar, useDeleting } from "./undo-bar.tsx";
import { useSearch } from "./use-search.ts";

export interface SidebarProps {
  conversations: ReadonlySignal<readonly Conversation[]>;
  /** The one that shows; null: one in which nothing was said yet. */
  currentId: ReadonlySignal<Id | null>;
  /** The one in which an answer is being written. */
  answeringId: ReadonlySignal<Id | null>;
  keeping: ReadonlySignal<Keeping>;
  actions: SidebarActions;
}

export interface SidebarActions {
  /** @param turn show the branch on which it is. */
  open: (id: Id, turn: Id | null) => void;
  begin: () => void;
  rename: (id: Id, title: string) => void;
  pin: (id: Id, isPinned: boolean) => void;
  /** Deletes it; what this gives brings it back. */
  remove: (id: Id) => Promise<() => Promise<void>>;
  search: (question: string) => Promise<readonly Hit[]>;
  exportMarkdown: (id: Id) => Promise<void>;
  /** Null: all of them, with presets. */
  exportJson: (id: Id | null) => Promise<void>;
  /** @throws Error that says what is wrong with the file; then nothing of it is kept. */
  importFile: (file: File) => Promise<ImportReport>;
}

export interface ImportReport {
  added: number;
  /** Here already. */
  known: number;
}

/** How something went that was asked for here. */
interface Outcome {
  text: string;
  isBad: boolean;
}

export function Sidebar({ conversations, currentId, answeringId, keeping, actions }: SidebarProps) {
  const { sidebar } = words.value;
  const [outcome, setOutcome] = useState<Outcome | null>(null);
  const deleting = useDeleting(actions.remove);
  const search = useSearch(actions.search, conversations);
  const file = useRef<HTMLInputElement>(null);
  const box = useRef<HTMLElement>(null);
  const all = conversations.value;

  const attempt = async (work: () => Promise<string | null>) => {
    setOutcome(null);
    try {
      const text = await work();
      setOutcome(text === null ? null : { text, isBad: false });
    } catch (error) {
      setOutcome({ text: `${sidebar.failed} ${isolated(describe(error))}`, isBad: true });
    }
  };
  const quietly = (work: () => Promise<void>) => {
    void attempt(async () => {
      await work();
      return null;
    });
  };
  const load = (chosen: File) => {
    void attempt(async () => {
      const { added, known } = await actions.importFile(chosen);
      return sidebar.imported(added, known);
    });
  };
  return (
    <nav class="sidebar" aria-label={sidebar.title} ref={box}>
      <div class="sidebar-head">
        <button class="quiet sidebar-new" type="button" onClick={actions.begin}>
          <Icon name="plus" />
          {sidebar.newChat}
        </button>
        <Menu
          label={sidebar.library}
          items={[
            {
              label: sidebar.exportAll,
              icon: "download",
              isDisabled: all.length === 0,
              onChoose: () => {
                quietly(() => actions.exportJson(null));
              },
            },
            {
              label: sidebar.importFile,
              icon: "upload",
              onChoose: () => file.current?.click(),
            },
          ]}
        />
        <input
          ref={file}
          type="file"
          class="hidden"
          tabIndex={-1}
          aria-hidden="true"
          accept=".json,application/json"
          onChange={(event) => {
            const input = event.currentTarget;
            const chosen = input.files?.[0];
            // The same file may be chosen again.
            input.value = "";
            if (chosen !== undefined) {
              load(chosen);
            }
          }}
        />
      </div>
      <search class="sidebar-search">
        <Icon name="search" />
        <input
          type="search"
          aria-label={sidebar.search}
          placeholder={sidebar.search}
          autocomplete="off"
          spellcheck={false}
          enterkeyhint="search"
          value={search.question}
          onInput={(event) => {
            search.ask(event.currentTarget.value);
          }}
          onKeyDown={(event) => {
            if (event.key === "ArrowDown") {
              event.preventDefault();
              box.current?.querySelector<HTMLElement>(".conversation[tabindex='0']")?.focus();
            } else if (event.key === "Escape" && search.question !== "") {
              // Not the answer on the screen is to be stopped, nor the drawer closed.
              event.stopPropagation();
              event.preventDefault();
              search.ask("");
            }
          }}
        />
        {search.question !== "" && (
          <button
            class="icon-button"
            type="button"
            aria-label={sidebar.clearSearch}
            onClick={() => {
              search.ask("");
              box.current?.querySelector<HTMLElement>("input[type='search']")?.focus();
            }}
          >
            <Icon name="close" />
          </button>
        )}
      </search>
      {keeping.value !== "kept" && (
        <p class="note is-notice sidebar-note" role="status">
          {sidebar.notKept[keeping.value]}
        </p>
      )}
      {outcome !== null && (
        <p class={`note sidebar-note ${outcome.isBad ? "is-warning" : "is-good"}`} role="status">
          {outcome.text}
        </p>
      )}
      <div class="sidebar-body">
        {search.hits !== null ? (
          <Found hits={search.hits} currentId={currentId.value} onOpen={actions.open} />
        ) : all.length === 0 ? (
          <p class="sidebar-empty">{sidebar.empty}</p>
        ) : (
          <ConversationList
            groups={groupsOf(all, Date.now())}
            currentId={currentId.value}
            answeringId={answeringId.value}
            actions={{
              open: (id) => {
                actions.open(id, null);
              },
              rename: actions.rename,
              pin: actions.pin,
              remove: deleting.remove,
              exportMarkdown: (id) => {
                quietly(() => actions.exportMarkdown(id));
              },
              exportJson: (id) => {
                quietly(() => actions.exportJson(id));
              },
            }}
          />
        )}
      </div>
      <UndoBar deleting={deleting} />
    </nav>
  );
}
