/**
 * The conversation: its turns, and what one can do with each. Shows; decides nothing.
 *
 * While an answer grows it is `aria-busy`; screen readers hear it once, whole, when it is there.
 */
import "./chat.css";

import type { ToolCall, Turn } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { CallView } from "../tools/call-view.tsx";
import { Answer } from "./answer.tsx";
import { Question } from "./question.tsx";
import type { TurnProps, TurnsProps } from "./turn-props.ts";

export function Turns(props: TurnsProps) {
  const { branch, liveId, live } = props;
  return (
    <ol class="messages" id="messages" aria-label={words.value.chat.conversation}>
      {branch.map((turn, index) => {
        const own = turn.id === liveId ? live : null;
        const shared = { ...props, turn, live: own, isLast: index === branch.length - 1 };
        return turn.role === "user" ? (
          <Question key={turn.id} {...shared} />
        ) : turn.role === "assistant" ? (
          <Answer key={turn.id} {...shared} question={questionAbove(branch, index)} />
        ) : (
          <Called key={turn.id} {...shared} call={callOf(branch, index)} />
        );
      })}
    </ol>
  );
}

function questionAbove(branch: readonly Turn[], index: number): Turn | null {
  return branch.slice(0, index).findLast(({ role }) => role === "user") ?? null;
}

/** What a tool's turn answers. */
function callOf(branch: readonly Turn[], index: number): ToolCall {
  const { callId = "", name = "" } = branch[index]?.result ?? {};
  const caller = branch.slice(0, index).findLast(({ role }) => role === "assistant");
  return caller?.calls.find((call) => call.id === callId) ?? { id: callId, name, arguments: "" };
}

/** What the model wanted done, and what came of it. */
function Called({ turn, live, call, pending, actions }: TurnProps & { call: ToolCall }) {
  const shown = live?.value ?? turn;
  const isRunning = (live?.value ?? null) !== null;
  const waiting = pending?.request.call.id === call.id ? pending : null;
  return (
    <li class="called">
      <CallView
        call={call}
        result={shown.result}
        {...(isRunning && { state: "running" as const })}
        tool={actions.toolOf(call.name)}
        request={isRunning ? (waiting?.request ?? null) : null}
        {...(waiting !== null && { onAnswer: waiting.answer })}
      />
    </li>
  );
}
