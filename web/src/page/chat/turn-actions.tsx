/** The buttons below a turn that questions and answers share. */
import { useLayoutEffect, useRef, useState } from "preact/hooks";

import { type Tree, siblingPlace } from "../../chat/tree.ts";
import type { Id, Turn } from "../../chat/types.ts";
import { words } from "../i18n/words.ts";
import { copyText } from "../markdown/copying.ts";
import { Icon, type IconName } from "../ui/icon.tsx";

/** Somebody steps between versions: the turn that comes takes the focus where it was. */
let stepping: { to: Id; by: -1 | 1 } | null = null;

export function Branches(props: {
  turn: Turn;
  tree: Tree;
  isAnswering: boolean;
  onChoose: (id: Id) => void;
}) {
  const { chat } = words.value;
  const place = siblingPlace(props.tree, props.turn.id);
  const buttons = useRef<HTMLSpanElement>(null);
  useLayoutEffect(() => {
    if (stepping?.to === props.turn.id) {
      const [back, on] = buttons.current?.querySelectorAll("button") ?? [];
      const [wanted, other] = stepping.by === 1 ? [on, back] : [back, on];
      stepping = null;
      // At the last version there is no further step: from there it goes back.
      (wanted?.disabled === false ? wanted : other)?.focus();
    }
  }, [props.turn.id]);
  if (place === null || place.siblings.length < 2) {
    return null;
  }
  const { siblings, number } = place;
  const step = (by: -1 | 1, icon: IconName, label: string) => {
    const to = siblings[number - 1 + by];
    return (
      <Action
        icon={icon}
        label={label}
        isOff={props.isAnswering || to === undefined}
        onClick={() => {
          if (to !== undefined) {
            stepping = { to: to.id, by };
            props.onChoose(to.id);
          }
        }}
      />
    );
  };
  return (
    <span class="branches" ref={buttons}>
      {step(-1, "previous", chat.previousBranch)}
      <span>{chat.branch(number, siblings.length)}</span>
      {step(1, "next", chat.nextBranch)}
    </span>
  );
}

export function CopyButton({ text }: { text: string }) {
  const { chat } = words.value;
  const [isCopied, setCopied] = useState(false);
  return (
    <Action
      icon={isCopied ? "check" : "copy"}
      label={isCopied ? chat.copied : chat.copy}
      onClick={() => {
        void copyText(text).then((isDone) => {
          setCopied(isDone);
          setTimeout(() => {
            setCopied(false);
          }, 2000);
        });
      }}
    />
  );
}

export function Action(props: {
  icon: IconName;
  label: string;
  isOff?: boolean;
  onClick: () => void;
}) {
  return (
    <button
      class="icon-button"
      type="button"
      aria-label={props.label}
      title={props.label}
      disabled={props.isOff ?? false}
      onClick={props.onClick}
    >
      <Icon name={props.icon} />
    </button>
  );
}
