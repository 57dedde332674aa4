/** What a model said: its thoughts, its text, its sources, how it ended and what one can do with it. */
import type { Turn } from "../../chat/types.ts";
import { citedIn } from "../../documents/context.ts";
import { SourceChips } from "../documents/source-list.tsx";
import { errorText } from "../error-text.ts";
import { formatDelay, formatRate } from "../format.ts";
import { words } from "../i18n/words.ts";
import { Markdown } from "../markdown/markdown.tsx";
import { SpeakButton } from "../speech/speak.tsx";
import { ReasoningView } from "../tools/reasoning-view.tsx";
import { Action, Branches, CopyButton } from "./turn-actions.tsx";
import { NARROW_LINE_CHARACTERS, WIDE_LINE_CHARACTERS, linesOf } from "./turn-height.ts";
import type { TurnActions, TurnProps } from "./turn-props.ts";

export function Answer(props: TurnProps & { question: Turn | null }) {
  const { tree, isAnswering, isLast, actions, question } = props;
  const { chat } = words.value;
  const turn = props.live?.value ?? props.turn;
  const isWriting = (props.live?.value ?? null) !== null;
  const sources = question?.sources ?? [];
  return (
    <li
      class={isWriting ? "answered is-writing" : "answered markdown-turn"}
      style={isWriting ? {} : heightOf(turn.text)}
      aria-busy={isWriting}
    >
      {turn.reasoning !== "" && (
        <ReasoningView
          text={turn.reasoning}
          isThinking={isWriting && turn.text === "" && turn.calls.length === 0}
          seconds={turn.reasoningSeconds}
        />
      )}
      <div class="message-text" data-reading={chat.reading}>
        {turn.text !== "" && (
          <Markdown
            text={turn.text}
            isStreaming={isWriting}
            sources={sources}
            onSource={(index) => {
              if (question !== null) {
                actions.openSources(question, index + 1);
              }
            }}
          />
        )}
      </div>
      {!isWriting && question !== null && sources.length > 0 && (
        <SourceChips
          sources={sources}
          cited={citedIn(turn.text, sources.length)}
          onOpen={(number) => {
            actions.openSources(question, number);
          }}
        />
      )}
      {!isWriting && <Ending turn={turn} actions={actions} isAnswering={isAnswering} />}
      {!isWriting && turn.calls.length === 0 && (
        <div class="turn-foot">
          {turn.figures !== null && turn.state !== "failed" && (
            <p class="message-note">{noteOf(turn, actions.placeOf(turn))}</p>
          )}
          <div class="turn-actions">
            <Branches turn={turn} tree={tree} isAnswering={isAnswering} onChoose={actions.choose} />
            {turn.text !== "" && <CopyButton text={turn.text} />}
            {turn.text !== "" && <SpeakButton id={turn.id} text={turn.text} />}
            {isLast && turn.state !== "failed" && (
              <Action
                icon="retry"
                label={chat.regenerate}
                isOff={isAnswering}
                onClick={() => {
                  actions.retry(turn.id);
                }}
              />
            )}
            {isLast && canGoOn(turn) && (
              <button
                class="quiet"
                type="button"
                disabled={isAnswering}
                onClick={() => {
                  actions.resume(turn.id);
                }}
              >
                {chat.goOn}
              </button>
            )}
          </div>
        </div>
      )}
    </li>
  );
}

/** What markdown.css makes a height of. */
function heightOf(text: string): Record<string, string> {
  return {
    "--wide-lines": linesOf(text, WIDE_LINE_CHARACTERS).toFixed(),
    "--narrow-lines": linesOf(text, NARROW_LINE_CHARACTERS).toFixed(),
  };
}

/** Under an answer: what it was in figures, or what went wrong. */
function Ending({
  turn,
  actions,
  isAnswering,
}: {
  turn: Turn;
  actions: TurnActions;
  isAnswering: boolean;
}) {
  const { chat } = words.value;
  if (turn.state === "failed") {
    return (
      <>
        <p class="message-error">{failureText(turn)}</p>
        <button
          class="quiet retry"
          type="button"
          disabled={isAnswering}
          onClick={() => {
            actions.retry(turn.id);
          }}
        >
          {chat.tryAgain}
        </button>
        {actions.isTooLong(turn.id) && (
          <div class="overflow-choices">
            <button
              class="quiet"
              type="button"
              disabled={isAnswering}
              onClick={() => {
                actions.dropOldest(turn.id);
              }}
            >
              {chat.overflowDrop}
            </button>
            <button class="quiet" type="button" disabled={isAnswering} onClick={actions.newChat}>
              {chat.overflowNew}
            </button>
          </div>
        )}
      </>
    );
  }
  const leftOut = turn.figures?.leftOutTurns ?? 0;
  return (
    <>
      {turn.state === "interrupted" && <p class="message-warning">{chat.interrupted}</p>}
      {leftOut > 0 && <p class="message-warning">{chat.leftOut(leftOut)}</p>}
    </>
  );
}

/** In the page's language, where it is known what went wrong. */
function failureText({ error, errorCode }: Turn): string {
  const message = error ?? "";
  return errorCode === undefined ? message : errorText({ code: errorCode, message });
}

function canGoOn({ state, text }: Turn): boolean {
  return text !== "" && (state === "stopped" || state === "interrupted" || state === "length");
}

function noteOf({ figures, state }: Turn, place: string | null): string {
  const { chat } = words.value;
  const { completionTokens: count = 0, decodeTokensPerSecond = 0 } = figures ?? {};
  const parts = [chat.tokens(count)];
  if (decodeTokensPerSecond > 0) {
    parts.push(formatRate(decodeTokensPerSecond));
  }
  if (count > 0) {
    parts.push(chat.firstAfter(formatDelay(figures?.timeToFirstTokenSeconds ?? 0)));
  }
  if (state === "stopped") {
    parts.push(chat.stopped);
  } else if (state === "length") {
    parts.push(chat.cut);
  }
  if (place !== null) {
    parts.push(place);
  }
  return parts.join(" · ");
}
