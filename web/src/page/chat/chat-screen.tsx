/** One conversation and its composer. */
import { useComputed, useSignal, useSignalEffect } from "@preact/signals";
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useMemo, useRef } from "preact/hooks";

import type { Id } from "../../chat/types.ts";
import { decide } from "../../sw/decision.ts";
import type { SearchNotice } from "../abilities.ts";
import { AttachButton, AttachmentList } from "../composer/attachments.tsx";
import { Composer } from "../composer/composer.tsx";
import { DraftFiles } from "../documents/draft-files.ts";
import { DropOverlay, useFileDrop } from "../documents/file-drop.tsx";
import { SourceList } from "../documents/source-list.tsx";
import { words } from "../i18n/words.ts";
import type { Parts } from "../parts.ts";
import { describeServedBy } from "../place-text.ts";
import { ContextMeter, fullnessOf } from "../settings/context-meter.tsx";
import { PlaceBadge } from "../settings/place-badge.tsx";
import { preferences } from "../settings/preferences.ts";
import { SpeechInput } from "../speech/speech-input.tsx";
import { Icon } from "../ui/icon.tsx";
import { Door } from "./door.tsx";
import { useFollowing } from "./following.ts";
import { useSpeed } from "./speed.ts";
import type { TurnActions } from "./turn-props.ts";
import { Turns } from "./turns.tsx";

/** Sound may go to the browser's maker. */
const SPEECH_SETTING = "speech.may-leave";

export interface ChatScreenProps {
  parts: Parts;
  field: RefObject<HTMLTextAreaElement | null>;
  /** Where there is no conversation to show: this, and not the door. */
  instead: ComponentChildren;
  onNewChat: () => void;
  onTools: () => void;
}

export function ChatScreen({ parts, field, instead, onNewChat, onTools }: ChatScreenProps) {
  const { desk, chat, abilities, approvals, kept, knowledge } = parts;
  const screen = useRef<HTMLDivElement>(null);
  const scroller = useRef<HTMLElement>(null);
  const text = useSignal("");
  const sources = useSignal<{ question: Id; number: number } | null>(null);
  /** Null: not read yet. */
  const mayLeave = useSignal<boolean | null>(null);
  const files = useMemo(() => draftFilesOf(parts), [parts]);
  const opened = desk.opened.value;
  const branch = chat.branch.value;
  const isAnswering = chat.isAnswering.value;
  const { tools } = chat.conversation.value;
  const canAsk = opened !== null && opened.task !== "embedding";
  const isEmpty = branch.length === 0;
  const { canSee, contextTokens } = knowledge.value;
  const draftFiles = files.files.value;
  const searching = abilities.searching.value;
  const isBlind = canSee === false && files.hasImages.value;

  const { isAway, toEnd } = useFollowing(scroller, chat);
  useEffect(() => {
    // The button that was pressed may be gone: the keyboard goes on from the conversation.
    if (document.activeElement === document.body) {
      scroller.current?.focus({ preventScroll: true });
    }
  }, [branch, isAnswering]);
  const isOver = useFileDrop(screen, (dropped) => void files.add(dropped));
  useEffect(() => {
    void kept.settings.get(SPEECH_SETTING).then((agreed) => {
      mayLeave.value = agreed === true;
    });
  }, [kept]);
  const figures = useComputed(
    () => chat.branch.value.findLast((turn) => turn.figures !== null)?.figures ?? null,
  ).value;
  const actions = useMemo(() => turnActionsOf(parts, sources, onNewChat), [parts]);
  const shownSources =
    sources.value === null
      ? []
      : (branch.find(({ id }) => id === sources.value?.question)?.sources ?? []);

  const send = () => {
    const said = text.value.trim();
    text.value = "";
    // What goes wrong is on the screen.
    chat.ask({ text: said, attachments: files.take() }).catch(() => undefined);
  };
  return (
    <div class="chat-screen" ref={screen}>
      <main id="scroller" tabindex={-1} ref={scroller}>
        {isEmpty && instead !== false ? (
          instead
        ) : isEmpty ? (
          <Door
            desk={desk}
            onSuggestion={(said) => {
              chat.ask({ text: said, attachments: [] }).catch(() => undefined);
            }}
          />
        ) : (
          <Turns
            branch={branch}
            tree={chat.tree.value}
            live={chat.live}
            liveId={chat.liveId.value}
            isAnswering={isAnswering}
            pending={approvals.pending.value}
            actions={actions}
          />
        )}
      </main>
      <footer
        class="dock"
        id="dock"
        hidden={desk.name.value === "" || opened?.task === "embedding"}
      >
        {isAway && !isEmpty && (
          <button
            class="icon-button to-end"
            type="button"
            aria-label={words.value.chat.toEnd}
            onClick={toEnd}
          >
            <Icon name="down" />
          </button>
        )}
        <SearchNoticeLine notice={abilities.notice.value} />
        {figures !== null && !isAnswering && (
          <ContextWarning parts={parts} onNewChat={onNewChat} draft={text.value} />
        )}
        {(canAsk || !isEmpty) && (
          <Composer
            text={text.value}
            onText={(changed) => {
              text.value = changed;
            }}
            onSend={send}
            onStop={() => {
              chat.stop();
            }}
            isAnswering={isAnswering}
            canSend={canAsk && !files.isReading.value && !isBlind}
            sendKey={preferences.value.sendKey}
            field={field}
            hasFiles={files.attachments.value.length > 0}
            above={
              (draftFiles.length > 0 || searching !== null) && (
                <AttachmentList
                  searching={searching}
                  items={draftFiles}
                  onRemove={files.remove}
                  canSee={canSee}
                  model={desk.name.value}
                  where={decide(desk.place.value).where}
                  isOverfull={files.isOverfull.value}
                />
              )
            }
            before={
              <>
                <AttachButton onFiles={(chosen) => void files.add(chosen)} />
                <button
                  class="icon-button"
                  type="button"
                  aria-label={
                    tools.length === 0
                      ? words.value.composer.tools
                      : words.value.composer.toolsOn(tools.length)
                  }
                  aria-pressed={tools.length > 0}
                  onClick={onTools}
                >
                  <Icon name="tool" />
                </button>
              </>
            }
            behind={
              mayLeave.value !== null && (
                <SpeechInput
                  text={text.value}
                  onText={(said) => {
                    text.value = said;
                  }}
                  mayLeave={mayLeave.value}
                  onAgree={() => {
                    mayLeave.value = true;
                    void kept.settings.set(SPEECH_SETTING, true);
                  }}
                />
              )
            }
          />
        )}
        <PlaceBadge
          situation={desk.situation()}
          report={opened === null || opened.engine === "server" ? null : opened}
          task={desk.task.value}
          figures={figures}
          liveTokensPerSecond={useSpeed(chat)}
          contextSize={contextTokens}
          host={location.host}
          onWanted={(wanted) => {
            desk.want(wanted);
          }}
        />
      </footer>
      <SourceList
        sources={shownSources}
        open={sources.value?.number ?? null}
        onClose={() => {
          sources.value = null;
        }}
      />
      <DropOverlay isOver={isOver} />
      <Announcer parts={parts} />
    </div>
  );
}

/** How full the context window is, where that is worth a word. */
function ContextWarning(props: { parts: Parts; draft: string; onNewChat: () => void }) {
  const { chat, knowledge } = props.parts;
  const figures = chat.branch.value.findLast((turn) => turn.figures !== null)?.figures ?? null;
  const size = knowledge.value.contextTokens;
  const isCut = chat.conversation.value.overflow === "drop-oldest";
  if (figures === null || size === 0 || isCut) {
    return null;
  }
  const used = figures.promptTokens + figures.completionTokens;
  const draft = Math.ceil(props.draft.length / CHARACTERS_PER_TOKEN);
  // Its ring is beside the place, whatever is in it.
  if (fullnessOf(used, size, draft) === "fits") {
    return null;
  }
  return (
    <ContextMeter
      used={used}
      size={size}
      draft={draft}
      onDropOldest={() => {
        chat.change({ overflow: "drop-oldest" });
      }}
      onNewChat={props.onNewChat}
    />
  );
}

function SearchNoticeLine({ notice }: { notice: SearchNotice | null }) {
  const { documents } = words.value;
  return notice === null ? null : (
    <p class="message-warning" role="status">
      {notice.kind === "missing" ? documents.missing(notice.name) : documents.noEmbedding}
    </p>
  );
}

/** Of a token, roughly; what is being written is counted when it is asked. */
const CHARACTERS_PER_TOKEN = 3.5;

/** Answers are read out once, whole. */
function Announcer({ parts: { chat } }: { parts: Parts }) {
  const said = useSignal("");
  const before = useRef<Id | null>(null);
  useSignalEffect(() => {
    const id = chat.liveId.value;
    if (id !== null) {
      before.current = id;
      said.value = words.peek().chat.answering;
      return;
    }
    const turn = chat.branch.value.at(-1);
    const awaited = before.current;
    if (awaited !== null && turn?.id === awaited) {
      before.current = null;
      said.value = turn.error ?? turn.text;
    }
  });
  return (
    <p class="hidden" id="announcer" role="status" aria-live="polite">
      {said.value}
    </p>
  );
}

function draftFilesOf({ abilities, kept, desk }: Parts): DraftFiles {
  return new DraftFiles({
    keep: (attached) => abilities.files.keep(attached),
    release: async (sha256) => (await kept.database).releaseFile(sha256),
    digest: async (bytes) => {
      // Not there on a network's plain http, where the engine's worker has one of its own.
      const { subtle } = crypto as { subtle?: SubtleCrypto };
      if (subtle === undefined) {
        const file = { path: "", content: new File([bytes], "") };
        const digest = await desk.engine.current.digest(file, () => undefined);
        return digest.replace("sha256:", "");
      }
      const hash = new Uint8Array(await subtle.digest("SHA-256", bytes));
      return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
    },
  });
}

function turnActionsOf(
  { chat, desk, abilities }: Parts,
  sources: { value: { question: Id; number: number } | null },
  onNewChat: () => void,
): TurnActions {
  /** What goes wrong is on the screen. */
  const quietly = (work: () => Promise<unknown>) => {
    Promise.resolve()
      .then(work)
      .catch(() => undefined);
  };
  return {
    edit: (id, said) => {
      const { attachments = [] } = chat.branch.value.find((turn) => turn.id === id) ?? {};
      quietly(() => chat.edit(id, { text: said, attachments }));
    },
    retry: (id) => {
      quietly(() => chat.retry(id));
    },
    resume: (id) => {
      quietly(() => chat.resume(id));
    },
    choose: (id) => {
      chat.choose(id);
    },
    isTooLong: (id) => chat.tooLong.value === id,
    dropOldest: (id) => {
      chat.change({ overflow: "drop-oldest" });
      quietly(() => chat.retry(id));
    },
    newChat: onNewChat,
    placeOf: ({ figures }) =>
      figures === null
        ? null
        : describeServedBy(
            { place: figures.servedBy, why: figures.why, code: figures.whyCode },
            desk.place.value,
          ),
    blobOf: (sha256) => abilities.files.blobOf(sha256),
    toolOf: (name) => abilities.tools.tools.find((tool) => tool.name === name) ?? null,
    openSources: ({ id }, number) => {
      sources.value = { question: id, number };
    },
  };
}
