/**
 * The question whether a call may go out. It takes the focus, so that nobody overlooks it; but none of
 * its buttons has it, so that no key that was meant for something else answers it.
 */
import "./tools.css";
import { useEffect, useId, useRef } from "preact/hooks";

import type { ApprovalAnswer, ApprovalRequest, CallPreview } from "../../tools/types.ts";
import { words } from "../i18n/words.ts";
import { Icon } from "../ui/icon.tsx";
import { titleOf } from "./call-text.ts";
import { Arguments } from "./call-view.tsx";

export interface ApprovalCardProps {
  request: ApprovalRequest;
  onAnswer: (answer: ApprovalAnswer) => void;
}

export function ApprovalCard({ request, onAnswer }: ApprovalCardProps) {
  const { tools } = words.value;
  const { approval } = tools;
  const { call, tool, preview = {} } = request;
  const card = useRef<HTMLElement>(null);
  const id = useId();
  useEffect(() => {
    const before = document.activeElement;
    card.current?.focus();
    return () => {
      // Where whoever answered was before; not where somebody went meanwhile.
      const isElsewhere = document.activeElement !== document.body;
      if (before instanceof HTMLElement && before.isConnected && !isElsewhere) {
        before.focus({ preventScroll: true });
      }
    };
  }, [call.id]);
  const title = titleOf(tool.name, tool, tools);
  const isFetch = tool.origin === "builtin" && tool.name === "fetch";
  // What stays in the person's own network has a warning of its own.
  const isNear = preview.warnings?.includes("private-address") ?? false;
  return (
    <section
      ref={card}
      class="approval"
      role="alertdialog"
      tabindex={-1}
      aria-labelledby={`${id}-title`}
      aria-describedby={`${id}-text`}
    >
      <h4 class="approval-title" id={`${id}-title`}>
        <Icon name="warning" />
        {approval.question(title)}
      </h4>
      <div id={`${id}-text`}>
        <p class="approval-text">
          {isFetch
            ? approval.fetch
            : tool.origin === "builtin"
              ? approval.tool
              : approval.server(tool.origin)}
        </p>
        {preview.address !== undefined && <Address address={preview.address} />}
        {preview.warnings?.map((warning) => (
          <p class="note is-notice approval-warning" key={warning}>
            {approval.warnings[warning]}
          </p>
        ))}
        {preview.address !== undefined && !isNear && (
          <p class="approval-text quiet-text">{approval.leaves}</p>
        )}
      </div>
      {!isFetch && <Arguments call={call} label={tools.inputOf(title)} />}
      <div class="buttons approval-buttons">
        <button
          class="primary"
          type="button"
          onClick={() => {
            onAnswer("once");
          }}
        >
          {approval.once}
        </button>
        {preview.scope !== null && (
          <button
            class="quiet"
            type="button"
            onClick={() => {
              onAnswer("conversation");
            }}
          >
            {alwaysText(preview)}
          </button>
        )}
        <button
          class="quiet"
          type="button"
          onClick={() => {
            onAnswer("no");
          }}
        >
          {approval.no}
        </button>
      </div>
    </section>
  );
}

function alwaysText({ scope }: CallPreview): string {
  const { approval } = words.value.tools;
  return scope === undefined || scope === null
    ? approval.always
    : approval.alwaysFor(URL.parse(scope)?.host ?? scope);
}

/** In full, with the part that says whose it is standing out. */
function Address({ address }: { address: string }) {
  const url = URL.parse(address);
  if (url === null) {
    return <p class="approval-address">{address}</p>;
  }
  const before = `${url.protocol}//`;
  const rest = address.startsWith(before + url.host)
    ? address.slice(before.length + url.host.length)
    : `${url.pathname}${url.search}${url.hash}`;
  return (
    <p class="approval-address" dir="ltr">
      {before}
      <strong>{url.host}</strong>
      {rest}
    </p>
  );
}
