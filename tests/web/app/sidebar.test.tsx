// @vitest-environment jsdom
import { signal } from "@preact/signals";
import { render } from "preact";
import { act } from "preact/test-utils";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import type { Keeping } from "../../../web/src/chat/database.ts";
import { ChatSearch } from "../../../web/src/chat/search.ts";
import type { Conversation } from "../../../web/src/chat/types.ts";
import { groupsOf } from "../../../web/src/page/sidebar/groups.ts";
import { Sidebar, type SidebarActions } from "../../../web/src/page/sidebar/sidebar.tsx";
import { UNDO_MILLISECONDS } from "../../../web/src/page/sidebar/undo-bar.tsx";
import { conversation, turn } from "./conversations.ts";

const NOON = new Date(2026, 10, 22, 12).getTime();

let list = signal<readonly Conversation[]>([]);
let keeping = signal<Keeping>("kept");
let log: string[] = [];
let root: HTMLElement;

const actions: SidebarActions = {
  open: (id, at) => log.push(`open ${id} ${at ?? "-"}`),
  begin: () => log.push("begin"),
  rename: (id, title) => log.push(`rename ${id} ${title}`),
  pin: (id, isPinned) => log.push(`pin ${id} ${isPinned}`),
  remove: (id) => {
    log.push(`remove ${id}`);
    const before = list.value;
    list.value = before.filter((each) => each.id !== id);
    return Promise.resolve(() => {
      log.push(`restore ${id}`);
      list.value = [...list.value, ...before.filter((each) => each.id === id)];
      return Promise.resolve();
    });
  },
  search: (question) => {
    const search = new ChatSearch();
    for (const each of list.value) {
      search.put(each, [turn({ id: `of ${each.id}`, text: "about <b>trains</b>" })]);
    }
    return Promise.resolve(search.find(question));
  },
  exportMarkdown: (id) => {
    log.push(`markdown ${id}`);
    return Promise.resolve();
  },
  exportJson: (id) => {
    log.push(`json ${id ?? "all"}`);
    return id === null ? Promise.reject(new Error("Too large.")) : Promise.resolve();
  },
  importFile: (file) => {
    log.push(`import ${file.name}`);
    return Promise.resolve({ added: 2, known: 1 });
  },
};

function find(selector: string): HTMLElement {
  const element = root.querySelector<HTMLElement>(selector);
  if (element === null) {
    throw new Error(`no ${selector}`);
  }
  return element;
}

function row(id: string): HTMLElement {
  return find(`.conversation[data-id="${id}"]`);
}

function titles(): string[] {
  return [...root.querySelectorAll(".conversation-title")].map((each) => each.textContent);
}

async function press(key: string, about: KeyboardEventInit = {}): Promise<void> {
  await act(() => {
    const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...about });
    document.activeElement?.dispatchEvent(event);
  });
}

async function click(element: HTMLElement): Promise<void> {
  await act(() => {
    element.click();
  });
}

async function type(element: HTMLInputElement, text: string): Promise<void> {
  await act(() => {
    element.value = text;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  });
}

async function later(milliseconds: number): Promise<void> {
  await act(async () => {
    await vi.advanceTimersByTimeAsync(milliseconds);
  });
}

async function choose(id: string, label: string): Promise<void> {
  const menu = row(id).parentElement?.querySelector<HTMLElement>("[aria-haspopup='menu']");
  await click(menu ?? root);
  const item = [...root.querySelectorAll<HTMLElement>("[role=menuitem]")].find(
    ({ textContent }) => textContent === label,
  );
  await click(item ?? root);
}

beforeEach(async () => {
  vi.useFakeTimers({ now: NOON, toFake: ["Date", "setTimeout", "clearTimeout"] });
  log = [];
  keeping = signal<Keeping>("kept");
  list = signal([
    conversation({ id: "a", title: "Alps", updatedAt: NOON }),
    conversation({ id: "b", title: "Bread", updatedAt: NOON - 1 }),
    conversation({ id: "p", title: "Pinned one", updatedAt: 0, isPinned: true }),
    conversation({ id: "u", title: "", updatedAt: 1 }),
  ]);
  root = document.createElement("div");
  document.body.append(root);
  await act(() => {
    render(
      <Sidebar
        conversations={list}
        currentId={signal<string | null>("b")}
        answeringId={signal<string | null>("a")}
        keeping={keeping}
        actions={actions}
      />,
      root,
    );
  });
});

afterEach(() => {
  render(null, root);
  root.remove();
  vi.useRealTimers();
});

describe("groups", () => {
  it("are by the days of this place, the pinned ones first", () => {
    const at = (id: string, day: number, hour: number) =>
      conversation({ id, updatedAt: new Date(2026, 10, day, hour).getTime() });
    const groups = groupsOf(
      [at("today", 22, 0), at("yesterday", 21, 23), at("old", 14, 23), at("week", 15, 0)],
      NOON,
    );
    expect(groups.map(({ name, conversations: [first] }) => [name, first?.id])).toEqual([
      ["today", "today"],
      ["yesterday", "yesterday"],
      ["week", "week"],
      ["earlier", "old"],
    ]);
  });
});

describe("the list", () => {
  it("is a navigation with a name, lists, and buttons that say which one shows", () => {
    expect(find("nav").getAttribute("aria-label")).toBe("Conversations");
    expect(titles()).toEqual(["Pinned one", "Alps", "Bread", "New conversation"]);
    expect(row("b").getAttribute("aria-current")).toBe("page");
    expect(row("a").textContent).toContain("An answer is being written");
    expect(find("section").getAttribute("aria-labelledby")).toBe(find("h2").id);
  });

  it("has one stop for the tab key, and arrow keys for the rest", async () => {
    const stops = () =>
      [...root.querySelectorAll<HTMLElement>(".conversation")].filter(
        (each) => each.tabIndex === 0,
      );
    expect(stops()).toEqual([row("b")]);
    row("b").focus();
    await press("ArrowDown");
    expect(document.activeElement).toBe(row("u"));
    await press("ArrowDown");
    expect(document.activeElement).toBe(row("u"));
    await press("Home");
    expect(document.activeElement).toBe(row("p"));
    await press("End");
    await press("ArrowUp");
    expect(stops()).toEqual([row("b")]);
    const menus = [...root.querySelectorAll<HTMLElement>("li [aria-haspopup]")];
    expect(menus.filter((each) => each.tabIndex === 0)).toHaveLength(1);
  });

  it("opens, begins, pins and saves", async () => {
    await click(row("a"));
    await click(find(".sidebar-new"));
    await choose("a", "Pin");
    await choose("p", "Unpin");
    await choose("a", "Save as Markdown");
    await choose("a", "Save as JSON");
    expect(log).toEqual(["open a -", "begin", "pin a true", "pin p false", "markdown a", "json a"]);
  });

  it("says what it is for while it is empty", async () => {
    await act(() => {
      list.value = [];
    });
    expect(root.textContent).toContain("What you ask shows up here");
  });

  it.each([
    ["refused", "keeps nothing"],
    ["full", "no room"],
    ["blocked", "older version"],
    ["outdated", "newer version"],
  ] as const)("says that nothing is kept, and why: %s", async (why, text) => {
    await act(() => {
      keeping.value = why;
    });
    expect(find(".sidebar-note").textContent).toContain(text);
  });
});

describe("renaming", () => {
  const field = () => find(".title-field") as HTMLInputElement;

  it("is F2, and Enter keeps it, on one line", async () => {
    row("a").focus();
    await press("F2");
    expect(document.activeElement).toBe(field());
    expect(field().value).toBe("Alps");
    field().value = "  High\u2028 Alps ";
    await press("Enter");
    expect(log).toEqual(["rename a High Alps"]);
    expect(document.activeElement).toBe(row("a"));
  });

  it("is let be by Escape, by nothing, and by the same", async () => {
    for (const [text, key] of [
      ["Other", "Escape"],
      ["  ", "Enter"],
      ["Alps", "Enter"],
    ] as const) {
      row("a").focus();
      await press("F2");
      field().value = text;
      await press(key);
      expect(document.activeElement).toBe(row("a"));
    }
    expect(log).toEqual([]);
  });

  it("is in the menu, and leaving keeps it", async () => {
    await choose("a", "Rename");
    field().value = "Andes";
    await act(() => {
      find("input[type=search]").focus();
    });
    expect(log).toEqual(["rename a Andes"]);
  });
});

describe("deleting", () => {
  it("can be undone for eight seconds, all of it", async () => {
    row("a").focus();
    await press("Delete");
    expect(document.activeElement).toBe(row("b"));
    expect(find("[role=status].undo-bar").textContent).toContain("Deleted “Alps”.");
    await later(UNDO_MILLISECONDS - 1);
    await press("Delete");
    expect(find(".undo-bar").textContent).toContain("Deleted 2 conversations.");
    await later(UNDO_MILLISECONDS - 1);
    await click(find(".undo-bar button"));
    await later(1);
    expect(log).toEqual(["remove a", "remove b", "restore a", "restore b"]);
    expect(titles()).toContain("Alps");
    expect(find(".undo-bar").hidden).toBe(true);
    expect(document.activeElement).not.toBe(document.body);
  });

  it("is final after that, unless somebody is at the button", async () => {
    await choose("a", "Delete");
    await act(() => {
      find(".undo-bar button").focus();
    });
    await later(2 * UNDO_MILLISECONDS);
    expect(find(".undo-bar").hidden).toBe(false);
    await act(() => {
      find(".undo-bar button").blur();
    });
    await later(UNDO_MILLISECONDS);
    expect(find(".undo-bar").hidden).toBe(true);
    expect(log).toEqual(["remove a"]);
  });
});

describe("searching", () => {
  const search = () => find("input[type=search]") as HTMLInputElement;

  it("shows where it was found, as text, and opens it there", async () => {
    await type(search(), "train alps");
    await later(200);
    expect(root.textContent).toContain("1 conversation");
    expect([...root.querySelectorAll("mark")].map((each) => each.textContent)).toEqual([
      "Alps",
      "train",
    ]);
    expect(root.querySelector("b")).toBeNull();
    search().focus();
    await press("ArrowDown");
    expect(document.activeElement?.className).toContain("is-found");
    await click(document.activeElement as HTMLElement);
    expect(log).toEqual(["open a of a"]);
  });

  it("says that nothing was found, and Escape ends it, and nothing else", async () => {
    await type(search(), "zebra");
    await later(200);
    expect(root.textContent).toContain("Nothing found.");
    const outside = vi.fn();
    document.addEventListener("keydown", outside);
    search().focus();
    await press("Escape");
    document.removeEventListener("keydown", outside);
    expect(outside).not.toHaveBeenCalled();
    expect(titles()).toHaveLength(4);
  });
});

describe("saving and loading all", () => {
  const label = "Save or load conversations";

  it("says what went wrong", async () => {
    await click(find(`[aria-label="${label}"]`));
    await click(find("[role=menuitem]"));
    await act(() => Promise.resolve());
    expect(find(".sidebar-note").textContent).toBe("That did not work: \u2068Too large.\u2069");
  });

  it("says what came", async () => {
    const input = find("input[type=file]") as HTMLInputElement;
    const file = new File(["{}"], "chats.json");
    Object.defineProperty(input, "files", { value: [file], configurable: true });
    await act(() => {
      input.dispatchEvent(new Event("change", { bubbles: true }));
      return Promise.resolve();
    });
    await act(() => Promise.resolve());
    expect(log).toEqual(["import chats.json"]);
    expect(find(".sidebar-note").textContent).toBe("Loaded 2 conversations.");
  });
});
