/** The page: conversations to one side, a bar, and the screen that the address names. */
import "./shell.css";
import { type ReadonlySignal, useComputed, useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { Id } from "../chat/types.ts";
import { ChatScreen } from "./chat/chat-screen.tsx";
import { MissingConversation } from "./chat/missing-conversation.tsx";
import { words } from "./i18n/words.ts";
import { ModelsRoom } from "./models/models-room.tsx";
import type { Parts } from "./parts.ts";
import { type PanelName, Panels } from "./panels.tsx";
import { go, route } from "./route.ts";
import { Library } from "./sidebar/library.ts";
import { Sidebar } from "./sidebar/sidebar.tsx";
import { Dialog } from "./ui/dialog.tsx";
import { Icon } from "./ui/icon.tsx";
import { Menu } from "./ui/menu.tsx";
import { UpdateBanner } from "./update-banner.tsx";
import { ROOMY, WIDE, useMedia } from "./media.ts";

export interface AppProps {
  parts: Parts;
  /** The address names a conversation that is not here. */
  missing: ReadonlySignal<Id | null>;
  onNewChat: () => void;
  /** Show the branch of a conversation on which a turn is. */
  onFound: (conversation: Id, turn: Id) => Promise<void>;
}

export function App({ parts, missing, onNewChat, onFound }: AppProps) {
  const { desk, chat, kept } = parts;
  const { shell } = words.value;
  const field = useRef<HTMLTextAreaElement>(null);
  const panel = useSignal<PanelName | null>(null);
  const isWide = useMedia(WIDE);
  const isRoomy = useMedia(ROOMY);
  /** Null: nobody has said; then it shows where there is room. */
  const isSideWanted = useSignal<boolean | null>(null);
  const isSideOpen = isSideWanted.value ?? isWide;
  const opened = desk.opened.value;
  const screen = route.value.screen;

  useEffect(() => {
    if (opened !== null) {
      field.current?.focus();
    }
  }, [opened]);
  useStopByEscape(() => {
    chat.stop();
  });

  const begin = () => {
    onNewChat();
    field.current?.focus();
  };
  const leaveDrawer = () => {
    if (!isWide) {
      isSideWanted.value = false;
    }
  };
  const library = useMemo(
    () =>
      new Library({
        database: kept.database,
        change: (id, about) => {
          const isHere = chat.conversation.value.id === id;
          if (isHere) {
            chat.change(about);
          }
          return isHere;
        },
        onDelete: (id) => {
          if (chat.conversation.value.id === id) {
            go({ screen: "chat", conversation: null });
          }
          desk.engine.current.forgetPrompts().catch(() => undefined);
        },
      }),
    [chat, kept, desk],
  );
  const currentId = useComputed(() =>
    chat.conversation.value.leaf === null ? null : chat.conversation.value.id,
  );
  const answeringId = useComputed(() =>
    chat.isAnswering.value ? chat.conversation.value.id : null,
  );
  const choices = (
    [
      ["presets", words.value.composer.presets, "book"],
      ["options", words.value.composer.options, "sliders"],
      ["settings", shell.settings, "settings"],
    ] as const
  ).map(([name, label, icon]) => ({
    label,
    icon,
    onChoose: () => {
      panel.value = name;
    },
  }));
  const side = (
    <Sidebar
      conversations={kept.conversations}
      currentId={currentId}
      answeringId={answeringId}
      keeping={kept.keeping}
      actions={{
        rename: library.rename,
        pin: library.pin,
        remove: library.remove,
        search: library.search,
        exportMarkdown: library.exportMarkdown,
        exportJson: library.exportJson,
        importFile: library.importFile,
        open: (id, turn) => {
          leaveDrawer();
          go({ screen: "chat", conversation: id });
          if (turn !== null) {
            void onFound(id, turn);
          }
        },
        begin: () => {
          leaveDrawer();
          begin();
        },
      }}
    />
  );
  return (
    <div class="app">
      {isWide && isSideOpen && <aside class="side">{side}</aside>}
      <div class="room">
        <header class="bar">
          <button
            class="icon-button"
            type="button"
            aria-label={shell.menu}
            aria-expanded={isSideOpen}
            onClick={() => {
              isSideWanted.value = !isSideOpen;
            }}
          >
            <Icon name="menu" />
          </button>
          <h1 class="wordmark">
            <img src="./fanlight.svg" alt="" width={28} height={28} />
            <span>Transom</span>
          </h1>
          <button
            class="model"
            id="model-name"
            type="button"
            title={shell.chooseModel}
            aria-pressed={screen === "models"}
            onClick={() => {
              if (screen === "models") {
                go({ screen: "chat", conversation: currentId.value });
              } else {
                go({ screen: "models" });
              }
            }}
          >
            <Icon name="model" />
            <span>{desk.name.value === "" ? shell.models : desk.name.value}</span>
          </button>
          <span class="bar-space" />
          {isRoomy ? (
            choices.map(({ label, icon, onChoose }) => (
              <button
                key={label}
                class="icon-button"
                type="button"
                aria-label={label}
                title={label}
                onClick={onChoose}
              >
                <Icon name={icon} />
              </button>
            ))
          ) : (
            <Menu label={words.value.chat.more} items={choices} />
          )}
          {!(isWide && isSideOpen) && (
            <button
              class="quiet new-chat"
              id="new-chat"
              type="button"
              aria-label={shell.newChat}
              disabled={
                chat.isAnswering.value || (currentId.value === null && missing.value === null)
              }
              onClick={begin}
            >
              <Icon name="plus" />
              <span>{shell.newChat}</span>
            </button>
          )}
        </header>
        {screen === "models" ? (
          <main class="models-screen" tabindex={-1}>
            <ModelsRoom
              {...parts.models()}
              onChat={(_, address) => {
                go({ screen: "chat", conversation: currentId.value });
                void desk.choose(address);
              }}
            />
          </main>
        ) : (
          <ChatScreen
            parts={parts}
            field={field}
            instead={
              missing.value !== null && (
                <MissingConversation
                  onNewChat={begin}
                  onUndo={library.lastDeleted.value?.id === missing.value ? library.undo : null}
                />
              )
            }
            onNewChat={begin}
            onTools={() => {
              panel.value = "tools";
            }}
          />
        )}
      </div>
      {!isWide && isSideOpen && (
        <Dialog
          title={shell.menu}
          form="side"
          onClose={() => {
            isSideWanted.value = false;
          }}
        >
          {side}
        </Dialog>
      )}
      <Panels
        parts={parts}
        open={panel.value}
        onOpen={(name) => {
          panel.value = name;
        }}
      />
      <UpdateBanner script={import.meta.url} />
    </div>
  );
}

function useStopByEscape(stop: () => void): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      // In a dialog or a menu it closes that, and an editor cancels.
      const isElsewhere = document.querySelector("dialog[open], [role=menu]") !== null;
      if (event.key === "Escape" && !event.defaultPrevented && !isElsewhere) {
        stop();
      }
    };
    document.addEventListener("keydown", listen);
    return () => {
      document.removeEventListener("keydown", listen);
    };
  }, []);
}
