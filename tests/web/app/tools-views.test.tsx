// @vitest-environment jsdom
/** Calls, the question before one, and thoughts, as they are shown. */
import { act } from "preact/test-utils";
import { render } from "preact";
import { afterEach, expect, it, vi } from "vitest";

import type { ToolResult } from "../../../web/src/chat/types.ts";
import { ApprovalCard } from "../../../web/src/page/tools/approval-card.tsx";
import { argumentsOf, hintOf, stateOf, titleOf } from "../../../web/src/page/tools/call-text.ts";
import { CallView } from "../../../web/src/page/tools/call-view.tsx";
import { ReasoningView } from "../../../web/src/page/tools/reasoning-view.tsx";
import { words } from "../../../web/src/page/i18n/words.ts";
import { calculator } from "../../../web/src/tools/builtin/calculator.ts";
import { createFetchPage } from "../../../web/src/tools/builtin/fetch-page.ts";
import { REFUSED } from "../../../web/src/tools/tool-box.ts";
import type { ApprovalRequest } from "../../../web/src/tools/types.ts";

const fetchPage = createFetchPage(() => Promise.reject(new Error("nobody")));
const call = (name: string, args: unknown) => ({ id: "1", name, arguments: JSON.stringify(args) });
const result = (text: string, fields: Partial<ToolResult> = {}): ToolResult => ({
  callId: "1",
  name: "x",
  isError: false,
  text,
  views: [],
  ...fields,
});

function show(node: Parameters<typeof render>[0]): HTMLElement {
  const place = document.createElement("div");
  document.body.append(place);
  void act(() => {
    render(node, place);
  });
  return place;
}

afterEach(() => {
  document.body.replaceChildren();
});

it("tells how a call is", () => {
  expect(stateOf(null)).toBe("running");
  expect(stateOf(result(""))).toBe("running");
  expect(stateOf(result("4"))).toBe("done");
  expect(stateOf(result("Error: x", { isError: true }))).toBe("failed");
  expect(stateOf(result(`Error: ${REFUSED}`, { isError: true }))).toBe("refused");
});

it("calls tools by their names for people", () => {
  const { tools } = words.value;
  expect(titleOf("calculator", calculator, tools)).toBe("Calculator");
  expect(titleOf("calculator", { title: "", origin: "Docs" }, tools)).toBe("calculator");
  expect(titleOf("x", { title: "Find", origin: "Docs" }, tools)).toBe("Find");
  expect(titleOf("toString", null, tools)).toBe("toString");
});

it("shows arguments as what they are, or as they came", () => {
  expect(argumentsOf(call("x", { a: "text", b: [1] }))).toEqual([
    { name: "a", text: "text" },
    { name: "b", text: "[\n  1\n]" },
  ]);
  expect(argumentsOf({ id: "1", name: "x", arguments: "" })).toEqual([]);
  expect(argumentsOf({ id: "1", name: "x", arguments: "{no" })).toBeNull();
  expect(argumentsOf(call("x", "text"))).toBeNull();
  expect(hintOf(call("x", { a: "two\n  lines", b: 1 }))).toBe("two lines");
  expect(hintOf(call("x", { a: "x".repeat(10_000) }))).toHaveLength(120);
});

it("is folded, costs nothing then, and shows text as text", () => {
  const evil = '<img src=x onerror="alert(1)">';
  const place = show(
    <CallView call={call("calculator", { expression: evil })} result={result(evil)} />,
  );
  expect(place.querySelector("pre")).toBeNull();
  expect(place.querySelector("img")).toBeNull();
  const details = place.querySelector("details");
  void act(() => {
    if (details !== null) {
      details.open = true;
      details.dispatchEvent(new Event("toggle"));
    }
  });
  expect(place.querySelectorAll("pre")).toHaveLength(2);
  expect(place.querySelector("pre")?.textContent).toBe(evil);
  expect(place.querySelector("img")).toBeNull();
});

it("shows pictures with words for who does not see them", () => {
  const views = [{ kind: "image" as const, mediaType: "image/png", base64: "AAAA" }];
  const place = show(<CallView isOpen call={call("x", {})} result={result("", { views })} />);
  const picture = place.querySelector("img");
  expect(picture?.getAttribute("src")).toBe("data:image/png;base64,AAAA");
  expect(picture?.alt).toBe("A picture from x");
  // They come while it is folded: it opens, once.
  const later = show(<CallView isOpen={false} call={call("x", {})} result={null} />);
  expect(later.querySelector("img")).toBeNull();
  void act(() => {
    render(<CallView isOpen call={call("x", {})} result={result("", { views })} />, later);
  });
  expect(later.querySelector("img")).not.toBeNull();
});

it("asks with the whole address, takes the focus, and gives it back", () => {
  const before = document.createElement("button");
  document.body.append(before);
  before.focus();
  const address = "https://example.org/a?secret=1";
  const request: ApprovalRequest = {
    call: call("fetch", { url: address }),
    tool: fetchPage,
    preview: fetchPage.preview?.({ url: address }) ?? {},
  };
  const onAnswer = vi.fn();
  const place = show(<ApprovalCard request={request} onAnswer={onAnswer} />);
  const card = place.querySelector<HTMLElement>("[role=alertdialog]");
  expect(document.activeElement).toBe(card);
  expect(card?.textContent).toContain(address);
  expect(card?.textContent).toContain("after its question mark");
  const buttons = [...place.querySelectorAll("button")];
  expect(buttons.map(({ textContent }) => textContent)).toEqual([
    "Allow once",
    "Always for example.org in this conversation",
    "Do not allow",
  ]);
  for (const button of buttons) {
    button.click();
  }
  expect(onAnswer.mock.calls).toEqual([["once"], ["conversation"], ["no"]]);
  void act(() => {
    render(null, place);
  });
  expect(document.activeElement).toBe(before);
});

it("offers no always where nothing can be covered", () => {
  const request = { call: call("x", {}), tool: calculator, preview: { scope: null } };
  const place = show(<ApprovalCard request={request} onAnswer={() => undefined} />);
  expect(place.querySelectorAll("button")).toHaveLength(2);
});

it("folds thoughts when they are over, unless somebody opened them", () => {
  const place = show(<ReasoningView isThinking text="Hmm." />);
  const shown = () => place.textContent;
  const again = (isThinking: boolean) => {
    void act(() => {
      render(<ReasoningView isThinking={isThinking} seconds={3.2} text="Hmm." />, place);
    });
  };
  expect(shown()).toBe("Thinking…");
  void act(() => {
    place.querySelector("summary")?.click();
  });
  expect(shown()).toBe("Thinking…Hmm.");
  again(false);
  expect(shown()).toBe("Thought for 3 sHmm.");
  // Who looked on once, looks on the next time; and it folds by itself then.
  const next = show(<ReasoningView isThinking text="Well." />);
  expect(next.textContent).toBe("Thinking…Well.");
  void act(() => {
    render(<ReasoningView isThinking={false} text="Well." />, next);
  });
  expect(next.textContent).toBe("Thought");
});
