/** One call of a tool: folded to a line, open with what was asked and what came back. */
import "./tools.css";
import { useEffect, useId, useState } from "preact/hooks";

import type { ToolCall, ToolResult, ToolView } from "../../chat/types.ts";
import type { ApprovalAnswer, ApprovalRequest, Tool } from "../../tools/types.ts";
import { words } from "../i18n/words.ts";
import { Icon, type IconName } from "../ui/icon.tsx";
import { ApprovalCard } from "./approval-card.tsx";
import { argumentsOf, type CallState, hintOf, stateOf, titleOf } from "./call-text.ts";

export interface CallViewProps {
  call: ToolCall;
  /** Null: nothing came yet. Views may come before the end. */
  result: ToolResult | null;
  /** "stopped", "interrupted" … of the turn need no word: what was stopped has a result that says so. */
  state?: CallState;
  /** Null: the tool is not there any more. */
  tool?: Tool | null;
  /** The question that this call waits for; null: none. */
  request?: ApprovalRequest | null;
  onAnswer?: (answer: ApprovalAnswer) => void;
  /** Opens once this turns true; whoever folds it then has it folded. Folded if left out. */
  isOpen?: boolean;
}

export function CallView(props: CallViewProps) {
  const { call, result, tool = null, request = null, onAnswer } = props;
  const { tools } = words.value;
  const [isOpen, setOpen] = useState(props.isOpen ?? false);
  useEffect(() => {
    if (props.isOpen === true) {
      setOpen(true);
    }
  }, [props.isOpen]);
  const state = request !== null ? "waiting" : (props.state ?? stateOf(result));
  const title = titleOf(call.name, tool, tools);
  if (request !== null && onAnswer !== undefined) {
    return <ApprovalCard request={request} onAnswer={onAnswer} />;
  }
  const origin = tool === null || tool.origin === "builtin" ? "" : tools.from(tool.origin);
  return (
    <>
      <details
        class={`call is-${state}`}
        open={isOpen}
        onToggle={(event) => {
          setOpen(event.currentTarget.open);
        }}
      >
        <summary class="call-line">
          <Icon name={iconOf(call.name)} />
          <span class="call-title">
            <bdi>{title}</bdi>
            {origin !== "" && <span class="call-origin"> {origin}</span>}
          </span>
          <bdi class="call-hint">{isOpen ? "" : hintOf(call)}</bdi>
          <span class="call-state">{tools.state[state]}</span>
          <span class="call-arrow">
            <Icon name="down" />
          </span>
        </summary>
        {/* What nobody looks at costs nothing. */}
        {isOpen && (
          <div class="call-inside">
            <Arguments call={call} label={tools.inputOf(title)} />
            {result !== null && result.text !== "" && (
              <section>
                <h4 class="call-head">{result.isError ? tools.error : tools.result}</h4>
                <Block text={result.text} label={tools.resultOf(title)} isFaulty={result.isError} />
              </section>
            )}
          </div>
        )}
      </details>
      {/* A plot is an answer: nobody has to open anything to see it. */}
      {result !== null && result.views.length > 0 && <Views views={result.views} title={title} />}
    </>
  );
}

/** What a call was asked with. */
export function Arguments({ call, label }: { call: ToolCall; label: string }) {
  const { tools } = words.value;
  const list = argumentsOf(call);
  if (list === null) {
    return (
      <section>
        <h4 class="call-head">{tools.input}</h4>
        <Block text={call.arguments} label={label} />
      </section>
    );
  }
  if (list.length === 0) {
    return <p class="call-nothing">{tools.nothingAsked}</p>;
  }
  return (
    <section>
      <h4 class="call-head">{tools.input}</h4>
      <dl class="call-arguments">
        {list.map(({ name, text }) => (
          <div key={name}>
            <dt>
              <bdi>{name}</bdi>
            </dt>
            <dd>
              <Block text={text} label={`${label}: ${name}`} />
            </dd>
          </div>
        ))}
      </dl>
    </section>
  );
}

/** Text of strangers, which scrolls within its box. Focusable, so that keys can scroll it. */
function Block(props: { text: string; label: string; isFaulty?: boolean }) {
  const looks = props.isFaulty === true ? "call-text is-faulty" : "call-text";
  const scrolls = props.text.length > 300 || props.text.includes("\n");
  return scrolls ? (
    <pre class={looks} dir="auto" tabindex={0} role="region" aria-label={props.label}>
      {props.text}
    </pre>
  ) : (
    <pre class={looks} dir="auto">
      {props.text}
    </pre>
  );
}

/** Pictures and texts that a tool shows. */
export function Views({ views, title }: { views: readonly ToolView[]; title: string }) {
  const { tools } = words.value;
  const id = useId();
  return (
    <div class="call-views">
      {views.map((view, index) =>
        view.kind === "image" ? (
          <img
            key={`${id}-${index}`}
            src={`data:${view.mediaType};base64,${view.base64}`}
            alt={tools.picture(title)}
          />
        ) : (
          <Block key={`${id}-${index}`} text={view.text} label={tools.resultOf(title)} />
        ),
      )}
    </div>
  );
}

function iconOf(name: string): IconName {
  switch (name) {
    case "python":
      return "python";
    case "fetch":
      return "document";
    default:
      return "tool";
  }
}
