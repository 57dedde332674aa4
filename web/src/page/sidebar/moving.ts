/**
 * Arrow keys among the conversations of a list: one of them is in the page's tab order, and the others
 * are reached from it (the "roving tabindex" of WAI-ARIA's practices).
 */
const ENTRY = ".conversation";

/** Moves the focus if the key says so; true: it did. */
export function moveAlong(event: KeyboardEvent, list: HTMLElement | null): boolean {
  const entries = [...(list?.querySelectorAll<HTMLElement>(ENTRY) ?? [])];
  const at = entries.findIndex((entry) => entry === event.target);
  if (at < 0) {
    return false;
  }
  const to = {
    ArrowDown: at + 1,
    ArrowUp: at - 1,
    Home: 0,
    End: entries.length - 1,
  }[event.key];
  const entry = to === undefined ? undefined : entries[to];
  if (entry === undefined) {
    return false;
  }
  event.preventDefault();
  focusEntry(list, entry);
  return true;
}

export function focusEntry(list: HTMLElement | null, entry: HTMLElement): void {
  stopAt(list, entry);
  entry.focus();
}

/** The tab key stops at this conversation and at its menu, and at no other. */
export function stopAt(list: HTMLElement | null, entry: HTMLElement | undefined): void {
  for (const other of list?.querySelectorAll<HTMLElement>(ENTRY) ?? []) {
    const tabIndex = other === entry ? 0 : -1;
    other.tabIndex = tabIndex;
    const menu = other.parentElement?.querySelector<HTMLElement>("[aria-haspopup]");
    if (menu !== undefined && menu !== null) {
      menu.tabIndex = tabIndex;
    }
  }
}
