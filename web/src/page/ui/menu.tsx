/** A button that opens a list of what can be done: arrow keys, Home, End, letters, Escape. */
import type { ComponentChildren } from "preact";
import { useId, useLayoutEffect, useRef, useState } from "preact/hooks";

import { useAnchored } from "./anchored.ts";
import { Icon, type IconName } from "./icon.tsx";

export interface MenuItem {
  label: string;
  icon?: IconName;
  isDanger?: boolean;
  isDisabled?: boolean;
  onChoose: () => void;
}

export interface MenuProps {
  /** What the button is called, where it shows no words. */
  label: string;
  items: readonly MenuItem[];
  /** What is on the button; three dots unless told. */
  children?: ComponentChildren;
  /** Of the button. */
  class?: string;
}

export function Menu({ label, items, children, class: look = "icon-button" }: MenuProps) {
  const [isOpen, setOpen] = useState(false);
  const button = useRef<HTMLButtonElement>(null);
  const id = useId();
  return (
    <>
      <button
        ref={button}
        class={look}
        type="button"
        aria-label={label}
        aria-haspopup="menu"
        aria-expanded={isOpen}
        {...(isOpen && { "aria-controls": id })}
        onClick={(event) => {
          // The list is there before the browser acts on this click, and it would close it again.
          event.preventDefault();
          setOpen(!isOpen);
        }}
        onKeyDown={(event) => {
          if (event.key === "ArrowDown" && !isOpen) {
            event.preventDefault();
            setOpen(true);
          }
        }}
      >
        {children ?? <Icon name="more" />}
      </button>
      {isOpen && (
        <MenuList
          id={id}
          label={label}
          items={items}
          anchor={button}
          onClose={() => {
            setOpen(false);
          }}
        />
      )}
    </>
  );
}

interface MenuListProps extends Pick<MenuProps, "label" | "items"> {
  id: string;
  anchor: { readonly current: HTMLButtonElement | null };
  onClose: () => void;
}

function MenuList({ id, label, items, anchor, onClose }: MenuListProps) {
  const list = useRef<HTMLDivElement>(null);
  useAnchored(list, anchor, onClose);
  const entries = () => [
    ...(list.current?.querySelectorAll<HTMLButtonElement>("button:not(:disabled)") ?? []),
  ];
  // Before the next key: whoever knows the menu types ahead.
  useLayoutEffect(() => {
    entries()[0]?.focus();
  }, []);
  const move = (event: KeyboardEvent) => {
    const all = entries();
    const at = all.findIndex((each) => each === document.activeElement);
    const to = nextEntry(
      event.key,
      at,
      all.map(({ textContent }) => textContent),
    );
    if (to !== null) {
      event.preventDefault();
      all[to]?.focus();
    } else if (event.key === "Tab") {
      onClose();
    }
  };
  return (
    <div
      ref={list}
      id={id}
      class="menu"
      role="menu"
      aria-label={label}
      popover="auto"
      onKeyDown={move}
    >
      {items.map((item) => (
        <button
          key={item.label}
          class={item.isDanger === true ? "menu-item is-danger" : "menu-item"}
          type="button"
          role="menuitem"
          tabIndex={-1}
          disabled={item.isDisabled ?? false}
          onClick={() => {
            anchor.current?.focus();
            onClose();
            item.onChoose();
          }}
        >
          {item.icon !== undefined && <Icon name={item.icon} />}
          {item.label}
        </button>
      ))}
    </div>
  );
}

/** Where a key leads in a list; null: nowhere. */
export function nextEntry(key: string, at: number, labels: readonly string[]): number | null {
  const count = labels.length;
  if (count === 0) {
    return null;
  }
  switch (key) {
    case "ArrowDown":
      return (at + 1) % count;
    case "ArrowUp":
      return (at - 1 + count) % count;
    case "Home":
      return 0;
    case "End":
      return count - 1;
    default: {
      if (Array.from(key).length !== 1 || key === " ") {
        return null;
      }
      const letter = key.toLocaleLowerCase();
      const turned = labels.map((_, step) => (at + 1 + step) % count);
      return turned.find((row) => labels[row]?.toLocaleLowerCase().startsWith(letter)) ?? null;
    }
  }
}
